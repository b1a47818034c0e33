"""Normalisation over the last dimension."""

from __future__ import annotations

from typing import Literal

from torch import nn

NormKind = Literal["layernorm", "rmsnorm"]


def build_norm(kind: NormKind, d_model: int, *, bias: bool = True) -> nn.Module:
    """LayerNorm (Ba et al. 2016) or RMSNorm (Zhang & Sennrich 2019) over `d_model` features."""
    if kind == "layernorm":
        return nn.LayerNorm(d_model, eps=1e-5, bias=bias)
    return nn.RMSNorm(d_model, eps=1e-6)
