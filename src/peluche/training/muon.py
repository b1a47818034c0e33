"""Muon for stacks of matrices, such as those of experts, and for matrices that are divided."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from peluche.hub.sharded import is_divided

COEFFICIENTS, ITERATIONS, EPSILON = (3.4445, -4.7750, 2.0315), 5, 1e-7


def orthogonalised(
    matrices: Float[Tensor, "stack rows columns"],
) -> Float[Tensor, "stack rows columns"]:
    """Each matrix with its singular values brought near 1 (Jordan et al. 2024, Newton–Schulz).

    In bfloat16, as `torch.optim.Muon`, which knows single matrices only.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    found = (matrices.mT if tall else matrices).bfloat16()
    found = found / found.norm(dim=(-2, -1), keepdim=True).clamp(min=EPSILON)
    for _ in range(ITERATIONS):
        gram = found @ found.mT
        change = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        found = torch.baddbmm(found, change, found, beta=a)
    return found.mT if tall else found


class StackedMuon(torch.optim.Optimizer):
    """Muon for matrices and stacks of them: each matrix of a stack is a matrix of its own.

    The update of `torch.optim.Muon` with Nesterov momentum and the size of AdamW's (Liu et al.
    2025, eq. 4). A matrix that processes divide among them is put together for it: products of
    parts would be added up in bfloat16.
    """

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter] | list[dict[str, Any]],
        lr: float,
        weight_decay: float,
        momentum: float,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every stack that has a gradient; `closure` is not used."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, stack: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[stack]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(stack)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        update = _orthogonalised(gradient.lerp(mean, group["momentum"]))
        size = 0.2 * math.sqrt(max(stack.shape[-2:]))
        stack.mul_(1 - group["lr"] * group["weight_decay"])
        stack.add_(update, alpha=-group["lr"] * size)


def _orthogonalised(update: Tensor) -> Tensor:
    """Of one matrix or a stack, divided as it was."""
    if update.dim() == 3:
        return orthogonalised(update)
    if not is_divided(update):
        return orthogonalised(update[None])[0]
    from torch.distributed.tensor import distribute_tensor

    # Every process computes all of it: nothing has to be sent.
    whole = orthogonalised(update.full_tensor()[None])[0]
    return distribute_tensor(whole, update.device_mesh, update.placements, src_data_rank=None)
