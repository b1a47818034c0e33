"""A decoder's weights as the C++ operator reads them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from peluche.inference.native.structures import ACTIVATIONS, Layer, Model
from peluche.inference.native.weights import (
    Format,
    Matrix,
    Store,
    interleaved,
    pack,
    packed_bytes,
    padded,
)
from peluche.models.decoder import Decoder
from peluche.nn.attention import MultiHeadAttention
from peluche.nn.blocks import Block
from peluche.nn.feedforward import GatedFeedForward
from peluche.nn.rotary import Rotary

FIRST_POSITIONS = 1024
# The window of a layer that has none.
EVERYTHING = 2**62


class _Weights(NamedTuple):
    """Where a model's weights are copied to."""

    store: Store
    vectors: list[Tensor]
    format: Format | Literal["auto"]

    def matrix(self, weight: Tensor, bias: Tensor | None = None) -> Matrix:
        matrix = self.store.keep(pack(weight.detach(), self.format))
        matrix.bias = None if bias is None else self.vector(bias)
        return matrix

    def linear(self, join: Callable[[list[Tensor]], Tensor], *layers: nn.Linear) -> Matrix:
        """Layers with the same inputs as one; `join` puts their rows together."""
        biases = [each.bias[:, None] for each in layers if each.bias is not None]
        bias = join(biases)[:, 0] if biases else None
        return self.matrix(join([each.weight for each in layers]), bias)

    def layer(self, block: nn.Module, window: int | None) -> Layer:
        """All but the cosines and sines."""
        assert isinstance(block, Block)
        attention, layer = block.self_attention, block.feed_forward
        assert isinstance(attention, MultiHeadAttention)
        assert isinstance(layer, GatedFeedForward)
        return Layer(
            attention_norm=self.norm(block.self_residual.norm),
            feed_forward_norm=self.norm(block.feed_forward_residual.norm),
            attention_out_norm=self.norm(block.self_residual.out_norm),
            feed_forward_out_norm=self.norm(block.feed_forward_residual.out_norm),
            query_norm=self.norm(attention.query_norm),
            key_norm=self.norm(attention.key_norm),
            window=EVERYTHING if window is None else window,
            qkv=self.linear(torch.cat, attention.query, attention.key, attention.value),
            out=self.linear(torch.cat, attention.out),
            gate_up=self.linear(interleaved, layer.gate, layer.up),
            down=self.linear(torch.cat, layer.down),
        )

    def norm(self, norm: nn.Module | None) -> int | None:
        """Where a norm's weights are."""
        if norm is None:
            return None
        assert isinstance(norm, nn.RMSNorm)
        weight = norm.weight
        return self.vector(torch.ones(norm.normalized_shape) if weight is None else weight)

    def vector(self, values: Tensor) -> int:
        """Where a copy of them is, with zeros added up to whole blocks."""
        kept = torch.zeros(padded(len(values)))
        kept[: len(values)] = values.detach()
        self.vectors.append(kept)
        return kept.data_ptr()


class CopiedModel(NamedTuple):
    """What the operator reads, with all that it points to.

    It is replaced as a whole: an interruption must not leave addresses of what is gone.
    """

    model: Model
    weights: _Weights
    layers: ctypes.Array[Layer]
    rotaries: Sequence[Rotary]
    width: int
    positions: int
    turns: Mapping[Rotary, Sequence[Tensor]]

    def turned(self, positions: int) -> CopiedModel:
        """The same with cosines and sines of so many positions."""
        places, model = torch.arange(positions), Model.from_buffer_copy(self.model)
        turns = {
            rotary: [each.contiguous() for each in rotary.turns(places, self.width, torch.float32)]
            for rotary in set(self.rotaries)
        }
        layers = type(self.layers).from_buffer_copy(self.layers)
        for layer, rotary in zip(layers, self.rotaries, strict=True):
            layer.cosines, layer.sines = (each.data_ptr() for each in turns[rotary])
        model.layers = ctypes.addressof(layers)
        return self._replace(model=model, layers=layers, positions=positions, turns=turns)


def copy_model(model: Decoder, format: Format | Literal["auto"]) -> CopiedModel:
    """A copy of the weights of the moment, which has no memory of keys and values yet."""
    config, stack = model.config, model.decoder
    # Matrices that are put together are padded once, hence no longer than one by one.
    matrices = [each.shape for each in model.parameters() if each.ndim == 2]
    sizes = (packed_bytes(outputs, inputs, format) for outputs, inputs in matrices)
    weights = _Weights(Store(sum(sizes)), [], format)
    windows = config.windows(config.layers)
    layers = (Layer * config.layers)(*map(weights.layer, stack.blocks, windows))
    head = weights.matrix(model.head.weight)
    assert stack.embedding is not None
    copied = Model(
        layer_count=config.layers,
        d_model=config.d_model,
        hidden=padded(config.d_model),
        inner=padded(config.d_ff),
        heads=config.heads,
        kv_heads=config.kv_heads or config.heads,
        head_width=config.width_of_heads,
        vocabulary=model.vocabulary,
        epsilon=_epsilon(stack.norm),
        embedding_scale=config.embedding_scale,
        score_scale=config.scale_of_scores or config.width_of_heads**-0.5,
        score_cap=config.attention_softcap or 0.0,
        logit_cap=config.logit_softcap or 0.0,
        activation=ACTIVATIONS.index(config.activation),
        embedding=head if config.tie_embeddings else weights.matrix(stack.embedding.weight),
        head=head,
        input_norm=weights.norm(stack.input_norm),
        norm=weights.norm(stack.norm),
    )
    rotaries = [_rotary(block) for block in stack.blocks]
    without = CopiedModel(copied, weights, layers, rotaries, config.width_of_heads, 0, {})
    return without.turned(FIRST_POSITIONS)


def _epsilon(norm: nn.Module) -> float:
    assert isinstance(norm, nn.RMSNorm)
    return torch.finfo(torch.float32).eps if norm.eps is None else norm.eps


def _rotary(block: nn.Module) -> Rotary:
    assert isinstance(block, Block)
    assert isinstance(block.self_attention, MultiHeadAttention)
    rotary = block.self_attention.head_positions
    assert isinstance(rotary, Rotary)
    return rotary
