"""Packed weights: copies of a model's parameters, laid out for decoding on a CPU.

Parameters of a model stay plain, one matrix per projection. Here they are fused (query, key and
value in one product, gate and up in another) and transposed once, so that no product packs them
again at every step.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from peluche.models.encoder_decoder import EncoderDecoder
from peluche.models.transformer import PLAIN, TransformerConfig
from peluche.nn.attention import MultiHeadAttention
from peluche.nn.blocks import Block, Residual
from peluche.nn.feedforward import FeedForward, GatedFeedForward
from peluche.nn.stack import Stack

# Below this many, torch's softmax and batched product take paths several times slower.
LEAST_SLOTS = 16
# What packed layers know beyond plain ones.
PACKED = ("head_width", "norm_epsilon")


def can_pack(config: TransformerConfig, *further: str) -> bool:
    """Whether packed layers, or what surrounds them (`further`), know all parts of a model."""
    needed = {key: values for key, values in PLAIN.items() if key not in (*PACKED, *further)}
    return all(getattr(config, key) in values for key, values in needed.items())


class Product(Protocol):
    """Rows (rows, in) by a packed matrix: (rows, out)."""

    def __call__(self, rows: Float[Tensor, "rows in"]) -> Float[Tensor, "rows out"]: ...


# Makes a product of a weight (out, in) and a bias (out,), or None.
Pack = Callable[[Tensor, Tensor | None], Product]


class Matrix(NamedTuple):
    """rows · weight + bias by PyTorch.

    Attributes:
        weight: (in, out).
        bias: (out,).
    """

    weight: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, weight: Float[Tensor, "out in"], bias: Float[Tensor, "out"] | None) -> Matrix:
        return cls(weight.t().contiguous(), bias)

    def __call__(self, rows: Float[Tensor, "rows in"]) -> Float[Tensor, "rows out"]:
        if self.bias is None:
            return torch.mm(rows, self.weight)
        return torch.addmm(self.bias, rows, self.weight)


def joined(*layers: nn.Linear) -> tuple[Float[Tensor, "out in"], Float[Tensor, "out"] | None]:
    """Copies of weight and bias of layers that read the same rows, as of one layer."""
    weight = torch.cat([layer.weight.detach() for layer in layers])
    biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
    return weight, torch.cat(biases) if biases else None


class PackedResidual:
    """A copy of a `Residual`, without dropout."""

    def __init__(self, residual: Residual) -> None:
        self.placement = residual.placement
        self.norm = copy.deepcopy(residual.norm)
        self.out_norm = copy.deepcopy(residual.out_norm)

    def __call__(self, rows: Tensor, part: Callable[[Tensor], Tensor]) -> Tensor:
        if self.placement == "post":
            return self.norm(part(rows).add_(rows))
        change = part(self.norm(rows))
        if self.out_norm is not None:
            change = self.out_norm(change)
        return change.add_(rows)


class PackedFeedForward:
    """A copy of a feed-forward layer, gate and up in one product."""

    def __init__(self, layer: nn.Module, pack: Pack) -> None:
        assert isinstance(layer, FeedForward | GatedFeedForward)
        self.activation = layer.activation
        self.gated = isinstance(layer, GatedFeedForward)
        first = (layer.gate, layer.up) if isinstance(layer, GatedFeedForward) else (layer.up,)
        self.up, self.down = pack(*joined(*first)), pack(*joined(layer.down))

    def __call__(self, rows: Float[Tensor, "rows d_model"]) -> Float[Tensor, "rows d_model"]:
        hidden = self.up(rows)
        if self.gated:
            gate, hidden = hidden.chunk(2, dim=-1)
            return self.down(self.activation(gate) * hidden)
        return self.down(self.activation(hidden))


class PackedAttention:
    """A copy of what a `MultiHeadAttention` does with queries, keys and values."""

    def __init__(self, layer: MultiHeadAttention, pack: Pack) -> None:
        self.heads, self.kv_heads, self.width = layer.heads, layer.kv_heads, layer.head_width
        self.turn, self.softcap = layer.head_positions, layer.softcap
        self.scale = self.width**-0.5 if layer.scale is None else layer.scale
        self.query_norm = copy.deepcopy(layer.query_norm)
        self.key_norm = copy.deepcopy(layer.key_norm)
        self.out = pack(*joined(layer.out))

    def split_heads(
        self, projected: Float[Tensor, "rows features"], sentences: int
    ) -> Float[Tensor, "sentences any_heads per width"]:
        """Features of a sentence's rows, by head."""
        return projected.view(
            sentences, -1, projected.shape[-1] // self.width, self.width
        ).transpose(1, 2)

    def attend(
        self,
        query: Float[Tensor, "sentences heads per width"],
        key: Float[Tensor, "slots sentences kv_heads width"],
        value: Float[Tensor, "slots sentences kv_heads width"],
        bias: Float[Tensor, "#sentences #heads #per slots"] | None,
    ) -> Float[Tensor, "rows d_model"]:
        """Attention of a few queries per sentence, by plain products: the fused kernel's cost per
        sentence and head would be more than the arithmetic.

        Slots come first in memory, so that what is written at a step is one block. There have to
        be `LEAST_SLOTS` of them. `bias` is added to the scores: −∞ for what is not to be seen.
        """
        sentences, _, per, _ = query.shape
        groups = self.heads // self.kv_heads
        # Query heads that share a key head become more queries of that head.
        rows = query.reshape(sentences * self.kv_heads, groups * per, self.width)
        scores = torch.bmm(rows, key.flatten(1, 2).permute(1, 2, 0))
        scores *= self.scale
        if bias is not None:
            scores.view(sentences, self.heads, per, -1).add_(bias)
        mixed = torch.bmm(scores.softmax(-1), value.flatten(1, 2).transpose(0, 1))
        mixed = mixed.view(sentences, self.heads, per, self.width)
        return mixed.transpose(1, 2).reshape(sentences * per, -1)


class PackedSelfAttention(PackedAttention):
    """Of a text to itself: query, key and value in one product."""

    def __init__(self, layer: MultiHeadAttention, pack: Pack) -> None:
        super().__init__(layer, pack)
        self.project = pack(*joined(layer.query, layer.key, layer.value))

    def split(
        self, projected: Float[Tensor, "rows features"], sentences: int, positions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Query (sentences, heads, per, width), key and value (sentences, kv_heads, per, width).

        The rows of a sentence stand at `positions` (per,).
        """
        parts = self.split_heads(projected, sentences)
        turned, value = parts.split([self.heads + self.kv_heads, self.kv_heads], 1)
        if self.query_norm is not None and self.key_norm is not None:
            query, key = turned.split([self.heads, self.kv_heads], 1)
            turned = torch.cat([self.query_norm(query), self.key_norm(key)], 1)
        if self.turn is not None:
            turned = self.turn(turned, positions)
        query, key = turned.split([self.heads, self.kv_heads], 1)
        return query, key, value


class PackedCrossAttention(PackedAttention):
    """Of a text to another, whose keys and values are one product."""

    def __init__(self, layer: MultiHeadAttention, pack: Pack) -> None:
        super().__init__(layer, pack)
        self.query = pack(*joined(layer.query))
        self.key_value = pack(*joined(layer.key, layer.value))


class PackedBlock:
    """A copy of a `Block`."""

    def __init__(self, block: nn.Module, pack: Pack) -> None:
        assert isinstance(block, Block)
        assert isinstance(block.self_attention, MultiHeadAttention)
        self.self_attention = PackedSelfAttention(block.self_attention, pack)
        self.self_residual = PackedResidual(block.self_residual)
        self.feed_forward = PackedFeedForward(block.feed_forward, pack)
        self.feed_forward_residual = PackedResidual(block.feed_forward_residual)
        if block.cross_attention is not None and block.cross_residual is not None:
            self.cross_attention = PackedCrossAttention(block.cross_attention, pack)
            self.cross_residual = PackedResidual(block.cross_residual)


@dataclass
class PackedStack:
    """A copy of a `Stack`: what surrounds the blocks, and the blocks."""

    embedding: Tensor
    scale: float
    positions: nn.Module | None
    bias: nn.Module | None
    blocks: list[PackedBlock]
    norm: nn.Module
    lock: Lock = field(default_factory=Lock)

    @classmethod
    def of(cls, stack: Stack, pack: Pack = Matrix.of) -> PackedStack:
        assert stack.embedding is not None, "a decoder embeds its tokens itself"
        return cls(
            embedding=stack.embedding.weight.detach().clone(),
            scale=stack.scale,
            positions=copy.deepcopy(stack.positions),
            bias=copy.deepcopy(stack.bias),
            blocks=[PackedBlock(block, pack) for block in stack.blocks],
            norm=copy.deepcopy(stack.norm),
        )

    def embed(
        self, tokens: Int[Tensor, "rows per"], positions: Int[Tensor, "per"]
    ) -> Float[Tensor, "flat d_model"]:
        """Scaled embeddings plus positions, one row per token."""
        hidden = F.embedding(tokens, self.embedding).mul_(self.scale)
        if self.positions is not None:
            # Tables of positions grow when asked for more, which two threads must not do at once.
            with self.lock:
                hidden += self.positions(positions)
        return hidden.flatten(0, 1)

    def read(
        self,
        rows: Float[Tensor, "rows d_model"],
        sentences: int,
        positions: Int[Tensor, "length"],
        mask: Tensor | None,
        places: Int[Tensor, "rows"] | None = None,
    ) -> Float[Tensor, "rows d_model"]:
        """All blocks with self-attention only, and the norm: what an encoder does.

        Args:
            rows: of sentences of `length` tokens each, or, with `places`, of real tokens only.
            mask: what attention adds to scores, or True for what is seen; None for all.
            places: where among the `sentences` · `length` padded rows each row stands. Nothing but
                attention then computes at padding.
        """
        for block in self.blocks:
            attention = block.self_attention

            def look(rows: Tensor, attention: PackedSelfAttention = attention) -> Tensor:
                projected = attention.project(rows)
                if places is not None:
                    padded = projected.new_zeros(sentences * len(positions), projected.shape[1])
                    projected = padded.index_copy_(0, places, projected)
                heads = attention.split(projected, sentences, positions)
                mixed = F.scaled_dot_product_attention(
                    *heads, attn_mask=mask, enable_gqa=attention.kv_heads < attention.heads
                )
                mixed = mixed.transpose(1, 2).reshape(len(projected), -1)
                return attention.out(mixed if places is None else mixed[places])

            rows = block.self_residual(rows, look)
            rows = block.feed_forward_residual(rows, block.feed_forward)
        return self.norm(rows)


class PackedEncoderDecoder:
    """Copies of all weights of an encoder-decoder at one moment."""

    def __init__(self, model: EncoderDecoder, columns: int) -> None:
        """`columns`: the head's width is rounded up to a multiple of it."""
        self.encoder, self.decoder = PackedStack.of(model.encoder), PackedStack.of(model.decoder)
        self.vocabulary = model.vocabulary
        head = F.pad(model.head.weight.detach(), (0, 0, 0, -self.vocabulary % columns))
        self.head = head.t().contiguous()

    def encode(
        self, source: Int[Tensor, "sentences source"], valid: Bool[Tensor, "sentences source"]
    ) -> tuple[list[tuple[Tensor, Tensor]], Float[Tensor, "sentences 1 1 source"] | None]:
        """Keys and values of every cross-attention, each (slots, sentences, kv_heads, width).

        The second result is what is added to scores to hide padding; None if there is none.
        """
        sentences, length = source.shape
        positions = torch.arange(length, device=source.device)
        padding = None if bool(valid.all()) else valid[:, None, None]
        mask = padding
        surplus = max(0, LEAST_SLOTS - length)
        if self.encoder.bias is not None:
            mask = self.encoder.bias(positions, positions)
            if padding is not None:
                mask = mask.masked_fill(~padding, -torch.inf)
        rows = self.encoder.embed(source, positions)
        rows = self.encoder.read(rows, sentences, positions, mask)
        pairs = []
        for block in self.decoder.blocks:
            attention = block.cross_attention
            heads = attention.split_heads(attention.key_value(rows), sentences).permute(2, 0, 1, 3)
            key, value = F.pad(heads, (0, 0, 0, 0, 0, 0, 0, surplus)).split(attention.kv_heads, 2)
            pairs.append((key.contiguous(), value.contiguous()))
        if surplus:
            padding = F.pad(valid, (0, surplus))[:, None, None]
        return pairs, None if padding is None else hiding(padding)


def hiding(visible: Bool[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """What to add to scores: 0 where visible, −∞ elsewhere."""
    return torch.zeros(visible.shape, device=visible.device).masked_fill_(~visible, -torch.inf)
