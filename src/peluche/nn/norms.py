"""Normalisation over the last dimension."""

from __future__ import annotations

from typing import Literal

from torch import nn

NormKind = Literal["layernorm", "rmsnorm", "plain_rmsnorm"]
EPSILON = {"layernorm": 1e-5, "rmsnorm": 1e-6, "plain_rmsnorm": 1e-6}


def build_norm(
    kind: NormKind, width: int, *, bias: bool = True, epsilon: float | None = None
) -> nn.Module:
    """A norm over `width` features.

    LayerNorm (Ba et al. 2016), RMSNorm (Zhang & Sennrich 2019), or the latter without weights.

    Args:
        epsilon: what keeps it from dividing by zero; the kind's usual one unless given.
    """
    epsilon = EPSILON[kind] if epsilon is None else epsilon
    if kind == "layernorm":
        return nn.LayerNorm(width, eps=epsilon, bias=bias)
    return nn.RMSNorm(width, eps=epsilon, elementwise_affine=kind == "rmsnorm")
