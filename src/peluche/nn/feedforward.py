"""Position-wise feed-forward layers."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from peluche.nn.dropout import Dropout

ActivationKind = Literal["relu", "gelu", "gelu_tanh", "relu2", "swiglu", "geglu", "geglu_tanh"]
GATED = ("swiglu", "geglu", "geglu_tanh")


def relu_squared(values: Tensor) -> Tensor:
    """max(x, 0)² (So et al. 2021)."""
    return F.relu(values).square()


def gelu_tanh(values: Tensor) -> Tensor:
    """GELU by tanh, as GPT-2 and Gemma compute it (Hendrycks & Gimpel 2016, §2)."""
    return F.gelu(values, approximate="tanh")


ACTIVATIONS = {
    "relu": torch.relu_,
    "gelu": F.gelu,
    "gelu_tanh": gelu_tanh,
    "relu2": relu_squared,
    "swiglu": F.silu,
    "geglu": F.gelu,
    "geglu_tanh": gelu_tanh,
}


class FeedForward(nn.Module):
    """down(activation(up(x))) (Vaswani et al. 2017, eq. 2)."""

    def __init__(
        self, d_model: int, d_ff: int, kind: ActivationKind, *, bias: bool, dropout: float
    ) -> None:
        super().__init__()
        self.up = nn.Linear(d_model, d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_model, bias=bias)
        self.activation = ACTIVATIONS[kind]
        self.dropout = Dropout(dropout)

    def forward(self, hidden: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        # Flat rows: an in-place activation on the view that a linear layer makes of more
        # dimensions would copy it, forward and backward.
        rows = self.up(hidden.flatten(0, -2))
        return self.down(self.dropout(self.activation(rows))).unflatten(0, hidden.shape[:-1])


class GatedFeedForward(nn.Module):
    """down(activation(gate(x)) · up(x)): SwiGLU and GeGLU (Shazeer 2020, eq. 6)."""

    def __init__(
        self, d_model: int, d_ff: int, kind: ActivationKind, *, bias: bool, dropout: float
    ) -> None:
        super().__init__()
        self.gate = nn.Linear(d_model, d_ff, bias=bias)
        self.up = nn.Linear(d_model, d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_model, bias=bias)
        self.activation = ACTIVATIONS[kind]
        self.dropout = Dropout(dropout)

    def forward(self, hidden: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        return self.down(self.dropout(self.activation(self.gate(hidden)) * self.up(hidden)))


def build_feed_forward(
    kind: ActivationKind, d_model: int, d_ff: int, *, bias: bool = True, dropout: float = 0.0
) -> nn.Module:
    """The feed-forward layer for an activation; SwiGLU and GeGLU have a third matrix."""
    layer = GatedFeedForward if kind in GATED else FeedForward
    return layer(d_model, d_ff, kind, bias=bias, dropout=dropout)
