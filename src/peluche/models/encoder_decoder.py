"""The encoder-decoder Transformer (Vaswani et al. 2017), assembled from parts."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from peluche.config import Config
from peluche.nn.attention import MultiHeadAttention
from peluche.nn.blocks import Block, NormPlacement, Residual
from peluche.nn.dropout import Dropout
from peluche.nn.feedforward import ActivationKind, build_feed_forward
from peluche.nn.losses import TokenLoss, fused_cross_entropy
from peluche.nn.masks import Causal, Padding, PreparedMask, prepare
from peluche.nn.norms import NormKind, build_norm
from peluche.nn.positions import ALiBi, Learned, PositionKind, RelativeBias, Rotary, Sinusoidal
from peluche.nn.state import State
from peluche.nn.trace import record, scope


class EncoderDecoderConfig(Config):
    """Sizes and parts of an encoder-decoder; the defaults are a small pre-norm Transformer."""

    kind: Literal["encoder_decoder"] = "encoder_decoder"
    d_model: int = Field(256, gt=0)
    layers: int = Field(3, gt=0, description="encoder layers, and decoder layers unless given")
    decoder_layers: int | None = Field(None, gt=0)
    heads: int = Field(4, gt=0)
    kv_heads: int | None = Field(None, gt=0, description="fewer than heads: GQA; one: MQA")
    d_ff: int = Field(1024, gt=0)
    activation: ActivationKind = "relu"
    norm: NormKind = "layernorm"
    norm_placement: NormPlacement = "pre"
    positions: PositionKind = "sinusoidal"
    max_length: int = Field(512, gt=0, description="longest sequence of learned positions")
    dropout: float = Field(0.1, ge=0, lt=1)
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    activation_dropout: float = Field(0.0, ge=0, lt=1)
    tie_embeddings: Literal["all", "decoder", "none"] = Field(
        "all", description="what the output projection shares: both embeddings, the decoder's, none"
    )
    bias: bool = True

    @model_validator(mode="after")
    def _heads_fit(self) -> EncoderDecoderConfig:
        if self.d_model % self.heads:
            fitting = [n for n in range(1, self.d_model + 1) if self.d_model % n == 0]
            near_heads = min(fitting, key=lambda n: abs(n - self.heads))
            near_width = max(1, round(self.d_model / self.heads)) * self.heads
            raise ValueError(
                f"d_model {self.d_model} is not divisible by heads {self.heads}; "
                f"nearest that fit: heads {near_heads}, or d_model {near_width}"
            )
        if self.kv_heads is not None and self.heads % self.kv_heads:
            near = min(
                (n for n in range(1, self.heads + 1) if self.heads % n == 0),
                key=lambda n: abs(n - (self.kv_heads or 1)),
            )
            raise ValueError(
                f"heads {self.heads} is not divisible by kv_heads {self.kv_heads}; "
                f"nearest that fits: kv_heads {near}"
            )
        near_even = max(1, round(self.d_model / (2 * self.heads))) * 2 * self.heads
        if self.positions == "rope" and (self.d_model // self.heads) % 2:
            raise ValueError(
                f"rope turns pairs of features, but a head has {self.d_model // self.heads}; "
                f"nearest that fits: d_model {near_even}"
            )
        if self.positions == "sinusoidal" and self.d_model % 2:
            raise ValueError(
                f"sinusoidal positions need an even d_model, not {self.d_model}; "
                f"nearest that fits: d_model {near_even}"
            )
        return self

    def build(self, vocabulary: int) -> EncoderDecoder:
        """A freshly initialised model for a joint vocabulary of this size."""
        return EncoderDecoder(self, vocabulary)


class Memory(NamedTuple):
    """What the decoder looks at: the encoder's output, and which of it is real.

    Attributes:
        hidden: (B, S, d_model).
        valid: (B, S), True for tokens, False for padding.
        mask: `valid`, prepared for attention.
        keys_and_values: one (key, value) pair per decoder layer, each (B, kv_heads, S, width);
            filled in by `project_memory` so that decoding steps do not repeat it.
    """

    hidden: Tensor
    valid: Tensor
    mask: PreparedMask | None
    keys_and_values: tuple[tuple[Tensor, Tensor], ...] | None = None


class Stack(nn.Module):
    """Embeddings, positions, blocks and final norm: an encoder, or with `cross` a decoder."""

    def __init__(
        self, config: EncoderDecoderConfig, layers: int, embedding: nn.Embedding, *, cross: bool
    ) -> None:
        super().__init__()
        d_model, heads = config.d_model, config.heads
        self.embedding = embedding
        self.scale = d_model**0.5
        self.dropout = Dropout(config.dropout)
        self.positions: nn.Module | None = None
        self.bias: nn.Module | None = None
        rotary = None
        match config.positions:
            case "sinusoidal":
                self.positions = Sinusoidal(d_model)
            case "learned":
                self.positions = Learned(d_model, config.max_length)
            case "rope":
                rotary = Rotary()
            case "alibi":
                self.bias = ALiBi(heads)
            case "relative":
                self.bias = RelativeBias(heads, bidirectional=not cross)

        def make_attention(rotary: Rotary | None) -> MultiHeadAttention:
            return MultiHeadAttention(
                d_model,
                heads,
                config.kv_heads,
                bias=config.bias,
                dropout=config.attention_dropout,
                head_positions=rotary,
            )

        def make_norm() -> nn.Module:
            return build_norm(config.norm, d_model, bias=config.bias)

        self.blocks = nn.ModuleList(
            Block(
                self_attention=make_attention(rotary),
                cross_attention=make_attention(None) if cross else None,
                feed_forward=build_feed_forward(
                    config.activation,
                    d_model,
                    config.d_ff,
                    bias=config.bias,
                    dropout=config.activation_dropout,
                ),
                make_residual=lambda: Residual(make_norm, config.norm_placement, config.dropout),
            )
            for _ in range(layers)
        )
        self.norm = make_norm() if config.norm_placement != "post" else nn.Identity()

    def forward(
        self,
        tokens: Int[Tensor, "batch length"],
        positions: Int[Tensor, "length"],
        mask: PreparedMask | None,
        memory: Memory | None = None,
        state: State | None = None,
    ) -> Float[Tensor, "batch length d_model"]:
        hidden = self.embedding(tokens) * self.scale
        record("embedding", hidden)
        if self.positions is not None:
            places = self.positions(positions)
            record("positions", places)
            hidden = hidden + places
        hidden = self.dropout(hidden)
        record("input", hidden)
        bias = None
        if self.bias is not None:
            past = positions if state is None else state.slots(int(positions[-1]) + 1)
            bias = self.bias(positions, past)
        for layer, block in enumerate(self.blocks):
            projected = None
            if memory is not None and memory.keys_and_values is not None:
                projected = memory.keys_and_values[layer]
            with scope(str(layer)):
                hidden = block(
                    hidden,
                    positions=positions,
                    mask=mask,
                    bias=bias,
                    memory=projected,
                    memory_mask=None if memory is None else memory.mask,
                    state=state,
                    layer=layer,
                )
        hidden = self.norm(hidden)
        record("output", hidden)
        return hidden


class EncoderDecoder(nn.Module):
    """Reads a source sentence whole, writes the target one token at a time."""

    def __init__(self, config: EncoderDecoderConfig, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        target = nn.Embedding(vocabulary, config.d_model)
        shared = config.tie_embeddings == "all"
        source = target if shared else nn.Embedding(vocabulary, config.d_model)
        self.encoder = Stack(config, config.layers, source, cross=False)
        decoder_layers = config.decoder_layers or config.layers
        self.decoder = Stack(config, decoder_layers, target, cross=True)
        self.head = nn.Linear(config.d_model, vocabulary, bias=False)
        if config.tie_embeddings != "none":
            self.head.weight = target.weight
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot-uniform matrices; embeddings N(0, 1/d_model), scaled back up where they are read.

        The last matrix of each residual branch is divided by √(2·layers), so that the sum of all
        branches starts at the size of one (Radford et al. 2019, §2.3).
        """
        for module in self.modules():
            if isinstance(module, nn.Linear) and module is not self.head:
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=self.config.d_model**-0.5)
        if self.config.tie_embeddings == "none":
            nn.init.normal_(self.head.weight, std=self.config.d_model**-0.5)
        if self.config.norm_placement == "pre":
            for name, parameter in self.named_parameters():
                if name.endswith(("out.weight", "down.weight")):
                    depth = self._depth(name.split(".")[0])
                    with torch.no_grad():
                        parameter.div_((2 * depth) ** 0.5)

    def _depth(self, stack: str) -> int:
        return len(self.get_submodule(stack).get_submodule("blocks")._modules)

    def encode(
        self, source: Int[Tensor, "batch source"], valid: Bool[Tensor, "batch source"]
    ) -> Memory:
        """Read the source sentences; `valid` is False at padding."""
        positions = torch.arange(source.shape[1], device=source.device)
        # Padding is the same for every query, so one query row is enough for all of them.
        mask = prepare(Padding(valid), source.shape[0], positions[:1], positions)
        with scope("encoder"):
            hidden = self.encoder(source, positions, mask)
        return Memory(hidden, valid, mask)

    def project_memory(self, memory: Memory) -> Memory:
        """Compute the keys and values of every cross-attention, once for all decoding steps."""
        pairs = tuple(
            attention.keys_and_values(memory.hidden)
            for attention in (block.cross_attention for block in self.decoder.blocks)
            if isinstance(attention, MultiHeadAttention)
        )
        return memory._replace(keys_and_values=pairs)

    def hidden(
        self,
        tokens: Int[Tensor, "rows length"],
        *,
        condition: Memory,
        positions: Int[Tensor, "length"] | None = None,
        state: State | None = None,
    ) -> Float[Tensor, "rows length d_model"]:
        """The decoder's hidden states after reading `tokens`, looking at `condition`.

        With a `state`, `tokens` continue what was read before and `positions` say where they
        stand; `condition` may then have fewer rows, shared by consecutive rows of `tokens`.
        """
        if condition.keys_and_values is None:
            condition = self.project_memory(condition)
        if positions is None:
            positions = torch.arange(tokens.shape[1], device=tokens.device)
        mask = prepare(Causal(), 1, positions, positions) if state is None else None
        with scope("decoder"):
            return self.decoder(tokens, positions, mask, condition, state)

    def logits(self, hidden: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch vocabulary"]:
        """Scores of every token of the vocabulary."""
        return self.head(hidden)

    def token_loss(
        self,
        hidden: Float[Tensor, "rows d_model"],
        labels: Int[Tensor, "rows"],
        smoothing: float = 0.0,
    ) -> TokenLoss:
        """Projection and label-smoothed cross-entropy in one, without keeping logits."""
        return fused_cross_entropy(hidden, self.head.weight, labels, smoothing)
