"""Dropout that is cheap on a CPU, alone and fused with the residual sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def keep_mask(like: Tensor, probability: float) -> Tensor:
    """A mask that is False with `probability`, a multiple of 1/65536.

    Sixteen random bits an element, from a small fast generator seeded by torch's. torch's own
    dropout draws a number per element on one thread, which on a CPU costs more than the matrix
    product beside it.
    """
    count = like.numel()
    seed = int(torch.randint(2**63 - 1, ()))
    words = np.random.SFC64(seed).random_raw((count + 3) // 4)
    threshold = round(probability * 65536) - 32768
    bits = torch.from_numpy(words.view(np.int16)[:count])
    return (bits >= threshold).view(like.shape)


class _DropoutAdd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, residual: Tensor, probability: float) -> Tensor:
        mask = keep_mask(hidden, probability)
        ctx.save_for_backward(mask)
        ctx.scale = 1.0 / (1.0 - probability)
        return torch.addcmul(residual, hidden, mask.to(hidden.dtype), value=ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (mask,) = ctx.saved_tensors
        return (gradients[0] * mask).mul_(ctx.scale), gradients[0], None


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, probability: float) -> Tensor:
        mask = keep_mask(hidden, probability)
        ctx.save_for_backward(mask)
        ctx.scale = 1.0 / (1.0 - probability)
        return (hidden * mask).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return (gradients[0] * mask).mul_(ctx.scale), None


def _by_own_mask(hidden: Tensor) -> bool:
    # The compiler has fast random numbers of its own, and cannot follow ours.
    return hidden.device.type == "cpu" and not torch.compiler.is_compiling()


class Dropout(nn.Module):
    """Zeroes elements with `probability` and scales the rest up (Srivastava et al. 2014).

    The probability is rounded to 1/65536.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        # What the mask can do exactly, so that scaling up by 1/(1 − p) keeps the mean.
        self.probability = min(round(probability * 65536), 65535) / 65536

    def forward(self, hidden: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        if not self.training or self.probability == 0.0:
            return hidden
        if not _by_own_mask(hidden):
            return F.dropout(hidden, self.probability)
        return _Dropout.apply(hidden, self.probability)

    def add(
        self, hidden: Float[Tensor, "*shape"], residual: Float[Tensor, "*shape"]
    ) -> Float[Tensor, "*shape"]:
        """residual + dropout(hidden), in one step on a CPU."""
        if not self.training or self.probability == 0.0:
            return residual + hidden
        if not _by_own_mask(hidden):
            return residual + F.dropout(hidden, self.probability)
        return _DropoutAdd.apply(hidden, residual, self.probability)
