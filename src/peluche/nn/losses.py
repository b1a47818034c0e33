"""Cross-entropy, plain and memory-lean."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

# Rows × vocabulary of the largest block of logits kept: 4 MiB of float32, which stays in cache.
CHUNK_ELEMENTS = 1 << 20


class TokenLoss(NamedTuple):
    """Totals over rows.

    Attributes:
        loss: label-smoothed cross-entropy in nats, summed; differentiable.
        nll: −log p(label) in nats, summed; for perplexity, not differentiable.
    """

    loss: Float[Tensor, ""]
    nll: Float[Tensor, ""]


def cross_entropy(
    logits: Float[Tensor, "rows vocabulary"], labels: Int[Tensor, "rows"], smoothing: float = 0.0
) -> TokenLoss:
    """Cross-entropy against smoothed labels, by the formula.

    The target distribution is (1 − ε)·one-hot + ε/V (Szegedy et al. 2016, §7).
    """
    log_probabilities = logits.log_softmax(-1)
    nll = -log_probabilities.gather(-1, labels[:, None]).sum()
    uniform = -log_probabilities.mean(-1).sum()
    return TokenLoss((1 - smoothing) * nll + smoothing * uniform, nll.detach())


def plain_cross_entropy(
    hidden: Float[Tensor, "rows d_model"],
    weight: Float[Tensor, "vocabulary d_model"],
    labels: Int[Tensor, "rows"],
    smoothing: float = 0.0,
    bias: Float[Tensor, "vocabulary"] | None = None,
) -> TokenLoss:
    """Project to logits, then `cross_entropy`."""
    logits = torch.nn.functional.linear(hidden, weight, bias)
    return cross_entropy(logits, labels, smoothing)


class _FusedCrossEntropy(torch.autograd.Function):
    """Forward and gradient block by block of rows, so that no (rows, vocabulary) tensor exists.

    With p = softmax(z), dz = p − (1−ε)·onehot − ε/V. The last term is the same for every row, so
    its part of the gradients is a sum of rows and costs no pass over the logits.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        labels: Tensor,
        smoothing: float,
        bias: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        rows, size = hidden.shape[0], weight.shape[0]
        step = max(1, min(rows, CHUNK_ELEMENTS // size))
        need_hidden, need_weight, _, _, need_bias = ctx.needs_input_grad
        grad_hidden = torch.empty_like(hidden) if need_hidden else None
        grad_weight = torch.zeros_like(weight) if need_weight else None
        grad_bias = torch.zeros_like(bias) if bias is not None and need_bias else None
        block = hidden.new_empty(step, size)
        weight_sum = weight.sum(0)
        bias_sum = 0.0 if bias is None else bias.sum()
        nll = hidden.new_zeros((), dtype=torch.float64)
        uniform = hidden.new_zeros((), dtype=torch.float64)
        for start in range(0, rows, step):
            h, y = hidden[start : start + step], labels[start : start + step, None]
            z = block[: len(h)]
            torch.mm(h, weight.t(), out=z)
            if bias is not None:
                z += bias
            picked = z.gather(1, y)
            top = z.amax(1, keepdim=True)
            torch.softmax(z, 1, out=z)
            # The largest probability is exp(top − logsumexp), never small. Scores are subtracted
            # first: they may be large, and their differences are what counts.
            best = z.amax(1).log()
            nll += ((top - picked)[:, 0] - best).sum(dtype=torch.float64)
            mean = (h @ weight_sum + bias_sum) / size
            uniform += (top[:, 0] - mean - best).sum(dtype=torch.float64)
            z.scatter_add_(1, y, torch.full_like(picked, smoothing - 1.0))
            if grad_hidden is not None:
                torch.mm(z, weight, out=grad_hidden[start : start + step])
            if grad_weight is not None:
                grad_weight.addmm_(z.t(), h)
            if grad_bias is not None:
                grad_bias += z.sum(0)
        share = smoothing / size
        if grad_hidden is not None and smoothing:
            grad_hidden.sub_(weight_sum, alpha=share)
        if grad_weight is not None and smoothing:
            grad_weight.sub_(hidden.sum(0), alpha=share)
        if grad_bias is not None and smoothing:
            grad_bias -= share * rows
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        total = (1 - smoothing) * nll + smoothing * uniform
        nll = nll.to(hidden.dtype)
        ctx.mark_non_differentiable(nll)
        return total.to(hidden.dtype), nll

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_weight, grad_bias = (
            None if kept is None else kept * gradients[0] for kept in ctx.saved_tensors
        )
        return grad_hidden, grad_weight, None, None, grad_bias


def fused_cross_entropy(
    hidden: Float[Tensor, "rows d_model"],
    weight: Float[Tensor, "vocabulary d_model"],
    labels: Int[Tensor, "rows"],
    smoothing: float = 0.0,
    bias: Float[Tensor, "vocabulary"] | None = None,
) -> TokenLoss:
    """`plain_cross_entropy` in blocks of rows: the same value and gradients, no kept logits.

    Gradients are made in the forward pass (as in Hsu et al. 2024, Liger Kernel). The arithmetic
    is float32, or float64 where the weights are.
    """
    precision = torch.promote_types(weight.dtype, torch.float32)
    hidden, weight = hidden.to(precision), weight.to(precision)
    bias = None if bias is None else bias.to(precision)
    if not torch.is_grad_enabled():
        # `needs_input_grad` does not know of no_grad: gradients would be made and thrown away.
        hidden, weight = hidden.detach(), weight.detach()
        bias = None if bias is None else bias.detach()
    with torch.autocast(hidden.device.type, enabled=False):
        loss, nll = _FusedCrossEntropy.apply(hidden, weight, labels, smoothing, bias)
    return TokenLoss(loss, nll)
