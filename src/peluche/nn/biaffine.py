"""Scores of pairs of vectors."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from peluche.nn.dropout import Dropout


class Biaffine(nn.Module):
    """s(x, y) = [x; 1]ᵀ U [y; 1] for every pair and every output (Dozat & Manning 2017, eq. 2-3).

    The ones are what makes it more than bilinear: they hold what each vector says by itself.
    """

    def __init__(self, left: int, right: int, outputs: int) -> None:
        super().__init__()
        # Zeros at the start, as published: all pairs begin with equal scores.
        self.weight = nn.Parameter(torch.zeros(outputs, left + 1, right + 1))

    def forward(
        self, left: Float[Tensor, "batch rows left"], right: Float[Tensor, "batch columns right"]
    ) -> Float[Tensor, "batch outputs rows columns"]:
        """Scores of all pairs of a row and a column."""
        return (_with_one(left)[:, None] @ self.weight) @ _with_one(right)[:, None].mT

    def paired(
        self, left: Float[Tensor, "pairs left"], right: Float[Tensor, "pairs right"]
    ) -> Float[Tensor, "pairs outputs"]:
        """Scores of each vector of one with the vector at its place in the other."""
        products = torch.einsum("ni,oij->noj", _with_one(left), self.weight)
        return torch.einsum("noj,nj->no", products, _with_one(right))


class Projection(nn.Sequential):
    """A linear layer, an activation, dropout: what a word is as one side of a relation."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__(nn.Linear(inputs, outputs), nn.LeakyReLU(0.1), Dropout(dropout))


def _with_one(vectors: Tensor) -> Tensor:
    return torch.cat([vectors, vectors.new_ones(*vectors.shape[:-1], 1)], -1)
