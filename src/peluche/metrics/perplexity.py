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


class NegativeLogLikelihood(Metric):
    """``nll / tokens`` in nats, whose exponential is the perplexity; statistics as there."""

    name = "nll"
    better = "lower"

    def aggregate(self, sums: Array) -> Array:
        return sums[..., 0] / sums[..., 1]

    def settings(self) -> Mapping[str, object]:
        return {"unit": "token", "log": "e"}


class BitsPerByte(Metric):
    """``nll / (bytes · ln 2)``; its statistics are (negative log-likelihood in nats, bytes).

    Compares models that cut the text into different tokens.
    """

    name = "bits_per_byte"
    better = "lower"

    @classmethod
    def of(cls, nll_total: float, size: int) -> float:
        """Of a text of so many bytes, from its total negative log-likelihood in nats."""
        return float(cls().aggregate(np.array([nll_total, size], dtype=np.float64)))

    def aggregate(self, sums: Array) -> Array:
        return sums[..., 0] / (sums[..., 1] * np.log(2))

    def settings(self) -> Mapping[str, object]:
        return {"unit": "byte", "log": "2"}


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
