"""How a recurrent decoder looks at a source sentence: one head, keys made once per sentence."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from peluche.nn.attention import attention
from peluche.nn.masks import PreparedMask
from peluche.nn.trace import record

ScoreKind = Literal["dot", "general", "concat"]


class ProductAttention(nn.Module):
    """Scores q·k ("dot") or q·W k ("general") (Luong et al. 2015, §3.1), by the fused kernel.

    Args:
        query: width of what looks.
        memory: width of what is looked at; for "dot" the same.
    """

    def __init__(self, kind: ScoreKind, query: int, memory: int) -> None:
        super().__init__()
        self.weight = nn.Linear(memory, query, bias=False) if kind == "general" else nn.Identity()

    def keys(
        self, memory: Float[Tensor, "batch source memory"]
    ) -> Float[Tensor, "batch source query"]:
        """What queries are compared with."""
        return self.weight(memory)

    def forward(
        self,
        query: Float[Tensor, "batch queries query"],
        keys: Float[Tensor, "batch source query"],
        memory: Float[Tensor, "batch source memory"],
        mask: PreparedMask | None,
    ) -> Float[Tensor, "batch queries memory"]:
        """Each query's mean of the memory, weighted by the softmax of its scores."""
        return attention(query[:, None], keys[:, None], memory[:, None], mask, scale=1.0)[:, 0]


class AdditiveAttention(nn.Module):
    """Scores v·tanh(W q + U k) (Bahdanau et al. 2015, appendix A.1.2; Luong's "concat").

    Args:
        query: width of what looks.
        memory: width of what is looked at.
        width: of the hidden layer that compares them.
    """

    def __init__(self, query: int, memory: int, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(query, width, bias=False)
        self.key = nn.Linear(memory, width)
        self.score = nn.Linear(width, 1, bias=False)

    def keys(
        self, memory: Float[Tensor, "batch source memory"]
    ) -> Float[Tensor, "batch source width"]:
        """U k, the same for all queries."""
        return self.key(memory)

    def forward(
        self,
        query: Float[Tensor, "batch queries query"],
        keys: Float[Tensor, "batch source width"],
        memory: Float[Tensor, "batch source memory"],
        mask: PreparedMask | None,
    ) -> Float[Tensor, "batch queries memory"]:
        """Each query's mean of the memory, weighted by the softmax of its scores."""
        compared = (self.query(query)[:, :, None] + keys[:, None]).tanh_()
        scores = self.score(compared)[..., 0]
        record("scores", scores[:, None])
        if mask is not None:
            assert mask.dense is not None, "a padding mask is dense"
            scores = scores.masked_fill(~mask.dense[:, 0], -float("inf"))
        weights = scores.softmax(-1)
        record("weights", weights[:, None])
        return weights @ memory


def build_source_attention(
    kind: ScoreKind, query: int, memory: int, width: int
) -> ProductAttention | AdditiveAttention:
    """The attention with that score; `width` matters for "concat"."""
    if kind == "concat":
        return AdditiveAttention(query, memory, width)
    return ProductAttention(kind, query, memory)
