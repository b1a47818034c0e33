"""What all Transformer families choose alike, and how a stack is assembled from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import Field, model_validator
from torch import Tensor, nn

from peluche.config import Config
from peluche.nn.attention import MultiHeadAttention, check_heads
from peluche.nn.blocks import Block, NormPlacement, Residual
from peluche.nn.experts import Experts, ExpertsConfig
from peluche.nn.feedforward import ActivationKind, build_feed_forward
from peluche.nn.latent_attention import LatentAttention, LatentConfig
from peluche.nn.masks import PreparedMask
from peluche.nn.norms import NormKind, build_norm
from peluche.nn.positions import PositionKind, build_positions, check_positions
from peluche.nn.rotary import RopeConfig, Rotary
from peluche.nn.stack import LayerMasks, Stack
from peluche.nn.state import StaticState


class WindowConfig(Config):
    """Layers that see only what is near (Beltagy et al. 2020, §3.1).

    Attributes:
        size: a query sees itself and the `size` − 1 positions before it.
        global_every: each so many-th layer sees everything; None: no layer does.
        rope: of the layers with a window, where it is not that of the others (Gemma 3).
    """

    size: int = Field(gt=0)
    global_every: int | None = Field(None, gt=0)
    rope: RopeConfig | None = None

    def seen_by(self, layer: int) -> int | None:
        """How far a layer, counted from 0, sees."""
        everything = self.global_every is not None and (layer + 1) % self.global_every == 0
        return None if everything else self.size


class WidthConfig(Config):
    """Maximal update parametrisation (Yang et al. 2022, arXiv 2203.03466, table 8).

    What suits a model of the base sizes, its learning rate above all, suits a wider one: with
    m = d_model / d_model of the base, logits are divided by m, hidden matrices are trained at 1/m
    of Adam's rate, and scores are scaled by √base head width / head width. Hidden matrices start
    with a variance of 1/m anyway (Glorot), embeddings with the same at all widths.
    """

    d_model: int = Field(gt=0, description="width of the model that the rate was found with")
    head_width: int = Field(gt=0, description="features of a head of that model")


class TransformerConfig(Config):
    """Sizes and parts of Transformer layers; families add what is their own."""

    d_model: int = Field(256, gt=0)
    layers: int = Field(3, gt=0)
    heads: int = Field(4, gt=0)
    kv_heads: int | None = Field(None, gt=0, description="fewer than heads: GQA; one: MQA")
    head_width: int | None = Field(None, gt=0, description="d_model / heads unless given")
    d_ff: int = Field(1024, gt=0)
    activation: ActivationKind = "relu"
    norm: NormKind = "layernorm"
    norm_epsilon: float | None = Field(None, gt=0, description="the norm's usual one if not given")
    norm_placement: NormPlacement = "pre"
    norm_input: bool = Field(False, description="normalise what the first layer reads")
    qk_norm: bool = Field(False, description="normalise each head's queries and keys")
    positions: PositionKind = "sinusoidal"
    rope: RopeConfig = RopeConfig()
    window: WindowConfig | None = None
    max_length: int = Field(512, gt=0, description="longest sequence of learned positions")
    dropout: float = Field(0.1, ge=0, lt=1)
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    attention_scale: float | None = Field(None, gt=0, description="1/√head_width if not given")
    attention_softcap: float | None = Field(None, gt=0, description="scores s become c·tanh(s/c)")
    activation_dropout: float = Field(0.0, ge=0, lt=1)
    bias: bool = True
    qkv_bias: bool | None = Field(
        None, description="of queries, keys, values; as bias if not given"
    )
    latent: LatentConfig | None = Field(None, description="multi-head latent attention")
    experts: ExpertsConfig | None = None

    @model_validator(mode="after")
    def _parts_fit(self) -> TransformerConfig:
        check_heads(self.d_model, self.heads, self.kv_heads, self.head_width)
        if self.latent is None:
            check_positions(self.positions, self.d_model, self.heads, self.width_of_heads)
        else:
            self._latent_fits(self.latent)
        return self

    def _latent_fits(self, latent: LatentConfig) -> None:
        if self.kv_heads is not None or self.qk_norm or self.bias:
            raise ValueError(
                "latent attention has keys and values of its own and no biases: "
                "leave kv_heads and qk_norm out, and set bias to false"
            )

    @property
    def width_of_heads(self) -> int:
        """Features of a head."""
        return self.head_width or self.d_model // self.heads

    @property
    def remembered(self) -> tuple[int, int, int]:
        """Heads, widths of their keys and of their values: what a layer remembers of a token."""
        if self.latent is not None:
            return 1, self.latent.remembered, 0
        return self.kv_heads or self.heads, self.width_of_heads, self.width_of_heads

    @property
    def scale_of_scores(self) -> float | None:
        """What scores are multiplied by; None for the attention's own."""
        return self.attention_scale

    def windows(self, layers: int) -> tuple[int | None, ...]:
        """How far each of so many layers sees."""
        window = self.window
        return tuple(None if window is None else window.seen_by(layer) for layer in range(layers))


# What these have to be for the plain layers of the older layouts and of packed weights.
PLAIN: dict[str, tuple[object, ...]] = {
    "head_width": (None,),
    "norm_epsilon": (None,),
    "norm_input": (False,),
    "qk_norm": (False,),
    "window": (None,),
    "attention_scale": (None,),
    "attention_softcap": (None,),
    "qkv_bias": (None,),
    "experts": (None,),
    "latent": (None,),
}


def layer_masks(
    windows: Sequence[int | None], make: Callable[[int | None], PreparedMask | None]
) -> LayerMasks:
    """A mask for each layer; `make` is asked once for each distance that layers see."""
    made = {window: make(window) for window in set(windows)}
    return [made[window] for window in windows]


def start_state(
    config: TransformerConfig, layers: int, rows: int, capacity: int, like: Tensor
) -> StaticState:
    """What so many layers will remember of at most `capacity` positions.

    Args:
        like: a tensor of the model, for its type and place.
    """
    heads, width, value_width = config.remembered
    return StaticState(
        layers,
        rows,
        heads,
        width,
        capacity,
        value_width=value_width,
        windows=config.windows(layers),
        dtype=like.dtype,
        device=like.device,
    )


def build_stack(
    config: TransformerConfig,
    layers: int,
    embedding: nn.Embedding | None,
    *,
    bidirectional: bool,
    cross: bool,
    scale: float | None = None,
) -> Stack:
    """Layers around an embedding; with `cross`, each looks at a memory as well.

    Args:
        scale: what embeddings are multiplied by; √d_model unless given.
    """
    d_model, heads = config.d_model, config.heads
    places = build_positions(
        config.positions,
        d_model,
        heads,
        max_length=config.max_length,
        bidirectional=bidirectional,
        rope=config.rope,
    )
    near = places.turning
    if near is not None and config.window is not None and config.window.rope is not None:
        near = config.window.rope.build()

    def make_attention(turning: Rotary | None = None) -> MultiHeadAttention:
        return MultiHeadAttention(
            d_model,
            heads,
            config.kv_heads,
            head_width=config.head_width,
            bias=config.bias,
            qkv_bias=config.qkv_bias,
            dropout=config.attention_dropout,
            head_positions=turning,
            query_norm=make_norm(config.width_of_heads) if config.qk_norm else None,
            key_norm=make_norm(config.width_of_heads) if config.qk_norm else None,
            scale=config.scale_of_scores,
            softcap=config.attention_softcap,
        )

    def make_norm(width: int = d_model) -> nn.Module:
        return build_norm(config.norm, width, bias=config.bias, epsilon=config.norm_epsilon)

    def make_feed_forward(width: int = config.d_ff) -> nn.Module:
        return build_feed_forward(
            config.activation,
            d_model,
            width,
            bias=config.bias,
            dropout=config.activation_dropout,
        )

    def make_experts(experts: ExpertsConfig) -> nn.Module:
        shared = make_feed_forward(experts.shared) if experts.shared else None
        return Experts(experts, d_model, config.d_ff, config.activation, shared)

    def make_self_attention(turning: Rotary | None) -> MultiHeadAttention | LatentAttention:
        if config.latent is None:
            return make_attention(turning)
        return LatentAttention(
            config.latent,
            d_model,
            heads,
            config.width_of_heads,
            make_norm=make_norm,
            head_positions=turning,
            dropout=config.attention_dropout,
            scale=config.scale_of_scores,
            softcap=config.attention_softcap,
        )

    def make_block(window: int | None) -> Block:
        return Block(
            self_attention=make_self_attention(places.turning if window is None else near),
            cross_attention=make_attention() if cross else None,
            feed_forward=make_experts(config.experts) if config.experts else make_feed_forward(),
            make_residual=lambda: Residual(make_norm, config.norm_placement, config.dropout),
        )

    return Stack(
        embedding=embedding,
        scale=d_model**0.5 if scale is None else scale,
        positions=places.added,
        bias=places.bias,
        blocks=[make_block(window) for window in config.windows(layers)],
        norm=make_norm() if config.norm_placement != "post" else nn.Identity(),
        dropout=config.dropout,
        input_norm=make_norm() if config.norm_input else None,
    )
