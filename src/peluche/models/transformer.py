"""What all Transformer families choose alike, and how a stack is assembled from it."""

from __future__ import annotations

from pydantic import Field, model_validator
from torch import nn

from peluche.config import Config
from peluche.nn.attention import HeadPositions, MultiHeadAttention, check_heads
from peluche.nn.blocks import Block, NormPlacement, Residual
from peluche.nn.feedforward import ActivationKind, build_feed_forward
from peluche.nn.norms import NormKind, build_norm
from peluche.nn.positions import PositionKind, build_positions, check_positions
from peluche.nn.stack import Stack


class TransformerConfig(Config):
    """Sizes and parts of Transformer layers; families add what is their own."""

    d_model: int = Field(256, gt=0)
    layers: int = Field(3, gt=0)
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
    bias: bool = True

    @model_validator(mode="after")
    def _parts_fit(self) -> TransformerConfig:
        check_heads(self.d_model, self.heads, self.kv_heads)
        check_positions(self.positions, self.d_model, self.heads)
        return self


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
        config.positions, d_model, heads, max_length=config.max_length, bidirectional=bidirectional
    )

    def make_attention(head_positions: HeadPositions | None = None) -> MultiHeadAttention:
        return MultiHeadAttention(
            d_model,
            heads,
            config.kv_heads,
            bias=config.bias,
            dropout=config.attention_dropout,
            head_positions=head_positions,
        )

    def make_norm() -> nn.Module:
        return build_norm(config.norm, d_model, bias=config.bias)

    def make_block() -> Block:
        return Block(
            self_attention=make_attention(places.turning),
            cross_attention=make_attention() if cross else None,
            feed_forward=build_feed_forward(
                config.activation,
                d_model,
                config.d_ff,
                bias=config.bias,
                dropout=config.activation_dropout,
            ),
            make_residual=lambda: Residual(make_norm, config.norm_placement, config.dropout),
        )

    return Stack(
        embedding=embedding,
        scale=d_model**0.5 if scale is None else scale,
        positions=places.added,
        bias=places.bias,
        blocks=[make_block() for _ in range(layers)],
        norm=make_norm() if config.norm_placement != "post" else nn.Identity(),
        dropout=config.dropout,
    )
