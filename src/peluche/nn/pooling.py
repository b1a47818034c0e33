"""From one vector per token to one per text."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from peluche.nn.trace import record

PoolingKind = Literal["first", "last", "mean", "max", "attention"]


class Pooling(nn.Module):
    """The first or last token's vector, the mean or largest value over tokens, or a learned mean.

    "attention" weighs tokens by softmax(u · tanh(W h)) (Yang et al. 2016, eq. 5-7). "last" of a
    bidirectional layer takes each direction where it has read everything.

    Args:
        kind: how.
        width: of the vectors.
        directions: 2 if the second half of the vectors was read backwards; matters for "last".
    """

    def __init__(self, kind: PoolingKind, width: int, directions: int = 1) -> None:
        super().__init__()
        self.kind: PoolingKind = kind
        self.directions = directions
        if kind == "attention":
            self.project = nn.Linear(width, width)
            self.weigh = nn.Linear(width, 1, bias=False)

    def forward(
        self, hidden: Float[Tensor, "batch length width"], valid: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch width"]:
        """`valid` is False at padding, which is last; each row has a token."""
        if self.kind == "first":
            return hidden[:, 0]
        if self.kind == "last":
            return self._last(hidden, valid)
        if self.kind == "max":
            return hidden.masked_fill(~valid[:, :, None], -torch.inf).amax(1)
        if self.kind == "mean":
            weights = valid / valid.sum(1, keepdim=True)
        else:
            scores = self.weigh(torch.tanh(self.project(hidden)))[:, :, 0]
            weights = scores.masked_fill(~valid, -torch.inf).softmax(1)
        record("weights", weights)
        return (weights[:, None] @ hidden)[:, 0]

    def _last(self, hidden: Tensor, valid: Tensor) -> Tensor:
        end = (valid.sum(1) - 1)[:, None, None].expand(-1, 1, hidden.shape[-1])
        last = hidden.gather(1, end)[:, 0]
        if self.directions == 1:
            return last
        half = hidden.shape[-1] // 2
        return torch.cat([last[:, :half], hidden[:, 0, half:]], -1)
