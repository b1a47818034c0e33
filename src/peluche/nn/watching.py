"""The largest score of each head, while a block of code runs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from peluche.nn.masks import PreparedMask


@runtime_checkable
class Watched(Protocol):
    """A layer whose scores can be made smaller, head by head."""

    def rescale_heads(self, factors: Float[Tensor, "heads"]) -> None:
        """Multiply every score of each head by its factor, through the weights."""


_watched: list[tuple[Watched, Tensor]] | None = None


@contextmanager
def watching_scores() -> Iterator[list[tuple[Watched, Tensor]]]:
    """Keep every attention layer and the largest score of its heads in this block."""
    global _watched
    before, _watched = _watched, []
    try:
        yield _watched
    finally:
        _watched = before


def watch(
    layer: Watched,
    query: Float[Tensor, "batch heads query width"],
    key: Float[Tensor, "batch kv_heads key width"],
    mask: PreparedMask | None,
    scale: float | None,
) -> None:
    """Inside `watching_scores`, keep the largest score that a query gives to a key it sees."""
    if _watched is None:
        return
    query, key = query.detach(), key.detach()
    key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        dense = mask.dense
        if dense is None:
            dense = torch.ones_like(scores[0, 0], dtype=torch.bool).tril()
        scores = scores.masked_fill(~dense, -math.inf)
    _watched.append((layer, scores.amax((0, 2, 3))))
