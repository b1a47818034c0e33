"""Attention masks: predicates over (row, query position, key position), built from small ones.

A mask says who sees whom and nothing else; `prepare` turns it once per forward pass into what the
attention backends take. Masks combine with `&` and `|`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor


class Mask:
    """A predicate: True where the query may look at the key.

    `visible` gets index tensors that broadcast against each other: `batch` (B, 1, 1),
    `query` (Q, 1) and `key` (K,), and returns a boolean tensor that broadcasts to (B, Q, K).
    """

    def visible(self, batch: Tensor, query: Tensor, key: Tensor) -> Tensor:
        raise NotImplementedError

    def __and__(self, other: Mask) -> Mask:
        return _And(self, other)

    def __or__(self, other: Mask) -> Mask:
        return _Or(self, other)


@dataclass(frozen=True)
class _And(Mask):
    left: Mask
    right: Mask

    def visible(self, batch: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return self.left.visible(batch, query, key) & self.right.visible(batch, query, key)


@dataclass(frozen=True)
class _Or(Mask):
    left: Mask
    right: Mask

    def visible(self, batch: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return self.left.visible(batch, query, key) | self.right.visible(batch, query, key)


@dataclass(frozen=True)
class Causal(Mask):
    """A query sees itself and what came before."""

    def visible(self, batch: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return key <= query


@dataclass(frozen=True)
class Window(Mask):
    """A query sees keys fewer than `size` positions away, on either side."""

    size: int

    def visible(self, batch: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query - key).abs() < self.size


def causal(window: int | None = None) -> Mask:
    """A query sees itself and what came before, of that the last `window` positions if given."""
    return Causal() if window is None else Causal() & Window(window)


@dataclass(frozen=True, eq=False)
class Padding(Mask):
    """Only keys marked True in `valid` (B, K) are seen."""

    valid: Bool[Tensor, "batch key"]

    def visible(self, batch: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return self.valid[batch, key]


@dataclass(frozen=True, eq=False)
class Prefix(Mask):
    """The first `lengths[b]` keys are seen by all; combine as `Causal() | Prefix(lengths)`."""

    lengths: Int[Tensor, "batch"]

    def visible(self, batch: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return key < self.lengths[batch]


@dataclass(frozen=True, eq=False)
class Documents(Mask):
    """Query and key belong to the same document of a packed row: `ids` (B, T)."""

    ids: Int[Tensor, "batch length"]

    def visible(self, batch: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return self.ids[batch, query] == self.ids[batch, key]


@dataclass(frozen=True)
class Block(Mask):
    """Query and key lie in the same block of `size` positions."""

    size: int

    def visible(self, batch: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return query // self.size == key // self.size


@dataclass(frozen=True)
class Staircase(Mask):
    """Causal by blocks: a query sees its own block of `size` positions and all earlier ones."""

    size: int

    def visible(self, batch: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return key // self.size <= query // self.size


@dataclass(frozen=True, eq=False)
class PreparedMask:
    """What the backends take.

    Attributes:
        dense: (B or 1, 1, Q, K), True where visible, in rows that see nothing all True; None when
            the mask is plainly causal over a square, the case that kernels have a fast path for.
        empty: (B or 1, 1, Q, 1), True for rows that see no key, whose output is zeroed; None when
            there are none.
    """

    dense: Bool[Tensor, "batch 1 query key"] | None
    empty: Bool[Tensor, "batch 1 query 1"] | None = None

    @property
    def causal(self) -> bool:
        return self.dense is None

    def select(self, rows: Int[Tensor, "kept"]) -> PreparedMask:
        """The mask of these rows of a batch; a mask that is the same for all rows stays."""
        if self.dense is None or self.dense.shape[0] == 1:
            return self
        return PreparedMask(self.dense[rows], None if self.empty is None else self.empty[rows])


def prepare(
    mask: Mask | None, batch: int, query: Int[Tensor, "query"], key: Int[Tensor, "key"]
) -> PreparedMask | None:
    """Materialise a mask for these query and key positions; None if everything is visible."""
    if mask is None or (isinstance(mask, Padding) and bool(mask.valid.all())):
        return None
    if isinstance(mask, Causal) and _in_step(query, key):
        return PreparedMask(dense=None)
    rows = torch.arange(batch, device=query.device)[:, None, None]
    visible = mask.visible(rows, query[:, None], key)
    visible = visible.expand(visible.shape[0] if visible.dim() == 3 else 1, len(query), len(key))
    return from_dense(visible[:, None])


def _in_step(query: Int[Tensor, "query"], key: Int[Tensor, "key"]) -> bool:
    """Whether queries and keys stand at the same rising positions, so that order is position."""
    return torch.equal(query, key) and bool((key[1:] > key[:-1]).all())


def from_dense(visible: Bool[Tensor, "batch 1 query key"]) -> PreparedMask:
    """Prepare a mask that is already a tensor, True where the query may look at the key."""
    empty = ~visible.any(-1, keepdim=True)
    if not bool(empty.any()):
        return PreparedMask(visible)
    return PreparedMask(visible | empty, empty)
