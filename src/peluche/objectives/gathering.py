"""Vectors of all processes, for losses that compare the texts of a whole step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from peluche.processes import Processes


def gathered(
    own: Float[Tensor, "rows width"], sizes: Sequence[int], processes: Processes
) -> Float[Tensor, "all_rows width"]:
    """The rows of every team of processes, in order, differentiable in this one's.

    Where every process computes a part of a loss, the parts' gradients with respect to a row are
    added up where the row was made, so that gradients of weights add up to the whole loss's.

    Args:
        sizes: how many rows each team has.
    """
    if len(sizes) == 1:
        return own
    found: Float[Tensor, "all_rows width"] = _Gathered.apply(own, sizes, processes)
    return found


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, sizes: Sequence[int], processes: Processes) -> Tensor:
        place = processes.rank // processes.team
        ctx.rows = slice(sum(sizes[:place]), sum(sizes[: place + 1]))
        ctx.team = processes.team
        padded = own.new_zeros(max(sizes), own.shape[1])
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in range(processes.count)]
        torch.distributed.all_gather(parts, padded)
        leading = zip(parts[:: processes.team], sizes, strict=True)
        return torch.cat([part[:size] for part, size in leading])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        # What autograd hands over is not to be changed.
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        # All processes of a team give the same.
        return total[ctx.rows] / ctx.team, None, None
