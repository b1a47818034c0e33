"""The encoder-decoder Transformer (Vaswani et al. 2017), assembled from parts."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from peluche.models.transformer import TransformerConfig, build_stack, layer_masks, start_state
from peluche.models.translation import TranslationModel
from peluche.nn.attention import MultiHeadAttention
from peluche.nn.masks import Padding, PreparedMask, Window, causal, prepare
from peluche.nn.stack import LayerMasks, Memory
from peluche.nn.state import KeyValueState, StaticState
from peluche.nn.trace import scope


class EncoderDecoderConfig(TransformerConfig):
    """Sizes and parts of an encoder-decoder; the defaults are a small pre-norm Transformer."""

    kind: Literal["encoder_decoder"] = "encoder_decoder"
    layers: int = Field(3, gt=0, description="encoder layers, and decoder layers unless given")
    decoder_layers: int | None = Field(None, gt=0)
    tie_embeddings: Literal["all", "decoder", "inputs", "none"] = Field(
        "all",
        description="what shares weights: both embeddings and the output projection; the decoder's "
        "embedding and the projection; both embeddings; none",
    )

    def build(self, vocabulary: int) -> EncoderDecoder:
        """A freshly initialised model for a joint vocabulary of this size."""
        return EncoderDecoder(self, vocabulary)


class EncoderDecoder(TranslationModel):
    """Reads a source sentence whole, writes the target one token at a time."""

    def __init__(self, config: EncoderDecoderConfig, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        target = nn.Embedding(vocabulary, config.d_model)
        shared = config.tie_embeddings in ("all", "inputs")
        source = target if shared else nn.Embedding(vocabulary, config.d_model)
        self.encoder = build_stack(config, config.layers, source, bidirectional=True, cross=False)
        decoder_layers = config.decoder_layers or config.layers
        self.decoder = build_stack(config, decoder_layers, target, bidirectional=False, cross=True)
        self.head = nn.Linear(config.d_model, vocabulary, bias=False)
        if config.tie_embeddings in ("all", "decoder"):
            self.head.weight = target.weight
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Embeddings N(0, 1/d_model), scaled back up where they are read (see `start_weights`).

        With pre-norm, residual branches start small (see `Stack.scale_branches`).
        """
        std = self.config.d_model**-0.5
        self.start_weights(std, tied=self.config.tie_embeddings in ("all", "decoder"))
        if self.config.norm_placement == "pre":
            self.encoder.scale_branches()
            self.decoder.scale_branches()

    @property
    def longest(self) -> int | None:
        """The most tokens of a sentence, [EOS] included: of learned positions there are so many."""
        return self.config.max_length if self.config.positions == "learned" else None

    def encode(
        self, source: Int[Tensor, "batch source"], valid: Bool[Tensor, "batch source"]
    ) -> Memory:
        """Read the source sentences; `valid` is False at padding."""
        positions = torch.arange(source.shape[1], device=source.device)
        rows = source.shape[0]
        # Padding is the same for every query, so one query row is enough for all of them.
        mask = prepare(Padding(valid), rows, positions[:1], positions)

        def seen(window: int | None) -> PreparedMask | None:
            if window is None:
                return mask
            return prepare(Padding(valid) & Window(window), rows, positions, positions)

        with scope("encoder"):
            windows = self.config.windows(self.config.layers)
            hidden = self.encoder(source, positions, layer_masks(windows, seen))
        return Memory(hidden, valid, mask)

    def project_memory(self, memory: Memory) -> Memory:
        """Compute the keys and values of every cross-attention, once for all decoding steps."""
        pairs = tuple(
            attention.keys_and_values(memory.hidden)
            for attention in (block.cross_attention for block in self.decoder.blocks)
            if isinstance(attention, MultiHeadAttention)
        )
        return memory._replace(keys_and_values=pairs)

    def start_state(self, memory: Memory, beams: int, capacity: int) -> StaticState:
        """A state for `beams` rows a sentence; every beam has a copy of its past."""
        rows, layers = memory.hidden.shape[0] * beams, len(self.decoder.blocks)
        return start_state(self.config, layers, rows, capacity, memory.hidden)

    def hidden(
        self,
        tokens: Int[Tensor, "rows length"],
        *,
        condition: Memory,
        positions: Int[Tensor, "length"] | None = None,
        state: KeyValueState | None = None,
    ) -> Float[Tensor, "rows length d_model"]:
        """The decoder's hidden states after reading `tokens`, looking at `condition`.

        With a `state`, `tokens` continue what was read before and `positions` say where they
        stand; `condition` may then have fewer rows, shared by consecutive rows of `tokens`.
        """
        if positions is None:
            positions = torch.arange(tokens.shape[1], device=tokens.device)
        masks: LayerMasks = None
        if state is None:
            masks = layer_masks(
                self.config.windows(len(self.decoder.blocks)),
                lambda window: prepare(causal(window), 1, positions, positions),
            )
        with scope("decoder"):
            return self.decoder(tokens, positions, masks, condition, state)
