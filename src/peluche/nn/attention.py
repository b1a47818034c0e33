"""Attention: one function, and the multi-head layer around it."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from peluche.nn.masks import PreparedMask
from peluche.nn.state import KeyValueState
from peluche.nn.trace import is_tracing, record
from peluche.nn.watching import watch

MOST_TRIED = 1 << 20


def attention(
    query: Float[Tensor, "batch heads query width"],
    key: Float[Tensor, "batch kv_heads key width"],
    value: Float[Tensor, "batch kv_heads key value_width"],
    mask: PreparedMask | None = None,
    bias: Float[Tensor, "#batch #heads #query key"] | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "batch heads query value_width"]:
    """softmax(Q Kᵀ · scale + bias) V (Vaswani et al. 2017, eq. 1).

    With fewer key/value heads than query heads, consecutive query heads share one (grouped-query
    attention, Ainslie et al. 2023). A query that sees no key gives zeros. `softcap` c replaces
    scores s by c·tanh(s/c) before bias and mask. The fused kernel is used unless softcap, dropout
    on a CPU, or tracing asks for the scores themselves; both paths agree.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    if softcap is not None or is_tracing() or (dropout > 0 and query.device.type == "cpu"):
        mixed, _ = explicit_attention(query, key, value, mask, bias, scale, softcap, dropout)
        return mixed
    causal, combined = _combine(mask, bias, query.shape[-2], key.shape[-2])
    mixed = F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=combined,
        is_causal=causal,
        scale=scale,
        dropout_p=dropout,
        enable_gqa=key.shape[1] != query.shape[1],
    )
    return mixed if mask is None or mask.empty is None else mixed.masked_fill(mask.empty, 0.0)


def explicit_attention(
    query: Float[Tensor, "batch heads query width"],
    key: Float[Tensor, "batch kv_heads key width"],
    value: Float[Tensor, "batch kv_heads key value_width"],
    mask: PreparedMask | None = None,
    bias: Float[Tensor, "#batch #heads #query key"] | None = None,
    scale: float = 1.0,
    softcap: float | None = None,
    dropout: float = 0.0,
) -> tuple[Float[Tensor, "batch heads query value_width"], Float[Tensor, "batch heads query key"]]:
    """The plain formula: the reference of every other path. Returns the output and the weights."""
    groups = query.shape[1] // key.shape[1]
    key, value = (t.repeat_interleave(groups, dim=1) if groups > 1 else t for t in (key, value))
    products = query @ key.transpose(-1, -2)
    scores = products * scale
    record("products", products)
    record("scores", scores)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if bias is not None:
        record("bias", bias)
        scores = scores + bias
    if mask is not None:
        dense = mask.dense
        if dense is None:
            dense = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()[
                None, None
            ]
        scores = scores.masked_fill(~dense, -math.inf)
    weights = scores.softmax(-1)
    if mask is not None and mask.empty is not None:
        weights = weights.masked_fill(mask.empty, 0.0)
    record("weights", weights)
    mixed = F.dropout(weights, dropout) @ value if dropout > 0 else weights @ value
    record("mixed", mixed)
    return mixed, weights


def _combine(
    mask: PreparedMask | None, bias: Tensor | None, query: int, key: int
) -> tuple[bool, Tensor | None]:
    """The fused kernel's (is_causal, attn_mask) for a mask and an additive bias."""
    if mask is None:
        return False, bias
    if bias is None:
        return mask.causal, mask.dense
    dense = mask.dense
    if dense is None:
        dense = torch.ones(query, key, dtype=torch.bool, device=bias.device).tril()
    return False, bias.masked_fill(~dense, -math.inf)


@runtime_checkable
class HeadPositions(Protocol):
    """Turns queries and keys according to where they stand, e.g. `Rotary`."""

    def __call__(self, heads: Tensor, positions: Tensor) -> Tensor: ...


def check_heads(
    d_model: int, heads: int, kv_heads: int | None, head_width: int | None = None
) -> None:
    """Raise ValueError, with the nearest values that fit, if heads cannot share `d_model`."""
    if head_width is None and d_model % heads:
        near_width = max(1, round(d_model / heads)) * heads
        raise ValueError(
            f"d_model {d_model} is not divisible by heads {heads}; "
            f"nearest that fit: heads {_nearest_divisor(d_model, heads)}, or d_model {near_width}"
        )
    if kv_heads is not None and heads % kv_heads:
        raise ValueError(
            f"heads {heads} is not divisible by kv_heads {kv_heads}; "
            f"nearest that fits: kv_heads {_nearest_divisor(heads, kv_heads)}"
        )


def _nearest_divisor(number: int, wanted: int) -> int:
    # Each divisor up to the root has one beyond it; of absurd numbers not all are tried.
    tried = range(1, min(math.isqrt(number), MOST_TRIED) + 1)
    divisors = (d for n in tried if number % n == 0 for d in (n, number // n))
    return min(divisors, key=lambda n: (abs(n - wanted), n))


class MultiHeadAttention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, §3.2.2); grouped- and multi-query with `kv_heads`.

    Query, key and value projections are separate parameters; adapters, optimizers and weight
    layouts rely on it. `heads` 8 and `kv_heads` 1 is multi-query attention (Shazeer 2019).

    Args:
        head_width: features of a head; d_model / heads unless given.
        bias: of all projections; `qkv_bias` of those of queries, keys and values, as `bias` unless
            given.
        head_positions: turns queries and keys.
        query_norm, key_norm: of each head's features, before they are turned (Henry et al. 2020).
        scale: of the scores; 1/√head_width unless given.
        softcap: see `attention`.
    """

    def __init__(
        self,
        d_model: int,
        heads: int,
        kv_heads: int | None = None,
        *,
        head_width: int | None = None,
        bias: bool = True,
        qkv_bias: bool | None = None,
        dropout: float = 0.0,
        head_positions: HeadPositions | None = None,
        query_norm: nn.Module | None = None,
        key_norm: nn.Module | None = None,
        scale: float | None = None,
        softcap: float | None = None,
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads = heads, kv_heads or heads
        self.head_width = head_width or d_model // heads
        self.dropout, self.scale, self.softcap = dropout, scale, softcap
        self.head_positions = head_positions
        self.query_norm, self.key_norm = query_norm, key_norm
        qkv_bias = bias if qkv_bias is None else qkv_bias
        self.query = nn.Linear(d_model, heads * self.head_width, bias=qkv_bias)
        self.key = nn.Linear(d_model, self.kv_heads * self.head_width, bias=qkv_bias)
        self.value = nn.Linear(d_model, self.kv_heads * self.head_width, bias=qkv_bias)
        self.out = nn.Linear(heads * self.head_width, d_model, bias=bias)

    def forward(
        self,
        hidden: Float[Tensor, "batch query d_model"],
        *,
        positions: Tensor,
        mask: PreparedMask | None = None,
        bias: Tensor | None = None,
        state: KeyValueState | None = None,
        layer: int = 0,
    ) -> Float[Tensor, "batch query d_model"]:
        """Self-attention; with a `state`, over everything it remembers of this layer."""
        query = self._query(hidden)
        key, value = self.keys_and_values(hidden)
        if self.head_positions is not None:
            query = self.head_positions(query, positions)
            key = self.head_positions(key, positions)
        if state is not None:
            state.write(layer, positions, key=key, value=value)
            view = state.view(layer)
            key, value = view.key, view.value
            mask = view.mask
        watch(self, query, key, mask, self.scale)
        return self._attend(query, key, value, mask, bias)

    def cross(
        self,
        hidden: Float[Tensor, "batch query d_model"],
        key: Float[Tensor, "rows kv_heads key width"],
        value: Float[Tensor, "rows kv_heads key width"],
        mask: PreparedMask | None = None,
    ) -> Float[Tensor, "batch query d_model"]:
        """Attention over a memory whose keys and values are given (see `keys_and_values`).

        The memory may have fewer rows than `hidden` by a whole factor: then so many consecutive
        rows (the beams of one sentence) share a memory row, and nothing is copied.
        """
        return self._attend(self._query(hidden), key, value, mask)

    def keys_and_values(
        self, source: Float[Tensor, "batch length d_model"]
    ) -> tuple[
        Float[Tensor, "batch kv_heads length width"], Float[Tensor, "batch kv_heads length width"]
    ]:
        """Project what is attended to."""
        key = self._split(self.key(source), self.kv_heads)
        if self.key_norm is not None:
            key = self.key_norm(key)
        return key, self._split(self.value(source), self.kv_heads)

    @torch.no_grad()
    def rescale_heads(self, factors: Float[Tensor, "heads"]) -> None:
        """See `Watched`: √factor on queries and keys; on queries alone where heads share keys."""
        shared = self.kv_heads != self.heads
        scaled = [self.query] if shared else [self.query, self.key]
        rows = (factors if shared else factors.sqrt()).repeat_interleave(self.head_width)
        for linear in scaled:
            linear.weight.mul_(rows[:, None])
            if linear.bias is not None:
                linear.bias.mul_(rows)

    def _query(self, hidden: Tensor) -> Tensor:
        query = self._split(self.query(hidden), self.heads)
        return query if self.query_norm is None else self.query_norm(query)

    def _split(self, projected: Tensor, heads: int) -> Tensor:
        return projected.unflatten(-1, (heads, self.head_width)).transpose(1, 2)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: PreparedMask | None,
        bias: Tensor | None = None,
    ) -> Tensor:
        record("query", query)
        record("key", key)
        record("value", value)
        rows, heads, length, width = query.shape
        sharing = rows // key.shape[0]
        if sharing > 1:
            # (sentence·beam, heads, length) -> (sentence, heads, beam·length)
            query = query.view(-1, sharing, heads, length, width).transpose(1, 2).flatten(2, 3)
        mixed = attention(
            query,
            key,
            value,
            mask,
            bias,
            scale=self.scale,
            softcap=self.softcap,
            dropout=self.dropout if self.training else 0.0,
        )
        if sharing > 1:
            mixed = mixed.unflatten(2, (sharing, length)).transpose(1, 2).flatten(0, 1)
        return self.out(mixed.transpose(1, 2).flatten(2))
