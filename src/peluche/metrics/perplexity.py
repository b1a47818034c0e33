"""Perplexity from summed negative log-likelihoods."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from peluche.errors import DataError
from peluche.metrics.base import Array, Metric


class Perplexity(Metric):
    """``exp(nll / tokens)``; its statistics are (negative log-likelihood in nats, tokens).

    Two perplexities compare only if both models cut the text into the same tokens.
    """

    name = "perplexity"
    better = "lower"

    def aggregate(self, sums: Array) -> Array:
        with np.errstate(over="ignore"):
            return np.exp(sums[..., 0] / sums[..., 1])

    def settings(self) -> Mapping[str, object]:
        return {"unit": "token", "log": "e"}


def perplexity(nll_total: float, tokens: int) -> float:
    """Perplexity of a text from its total negative log-likelihood in nats; infinite on overflow.

    Raises:
        DataError: if there are no tokens.
    """
    if tokens <= 0:
        raise DataError(
            f"the perplexity of {tokens} tokens is not defined",
            remedy="give a text of at least one token",
        )
    return float(Perplexity().aggregate(np.array([nll_total, tokens], dtype=np.float64)))
