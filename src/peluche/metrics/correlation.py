"""Rank correlation between what a model says of pairs and what people said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from peluche.metrics.base import Array, Metric


class Spearman(Metric):
    """100 · Spearman's ρ: Pearson's correlation of ranks, ties sharing their mean rank.

    Statistics are (1, x, y, x², y², xy) of the ranks, centred. Resamples keep the ranks that the
    items have among all of them.
    """

    name = "spearman"

    def __init__(self, name: str = "spearman") -> None:
        self.name = name

    def statistics(self, said: Sequence[float], gold: Sequence[float]) -> Array:
        """(N, 6) of N items."""
        x, y = (ranks(np.asarray(values, dtype=np.float64)) for values in (said, gold))
        x, y = x - x.mean(), y - y.mean()
        return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)

    def aggregate(self, sums: Array) -> Array:
        n, x, y, xx, yy, xy = (sums[..., column] for column in range(6))
        spread = np.maximum((xx - x * x / n) * (yy - y * y / n), 0.0)
        # Of items that all rank alike nothing can be said.
        return 100 * np.divide(
            xy - x * y / n, np.sqrt(spread), out=np.zeros_like(spread), where=spread > 1e-12
        )

    def settings(self) -> Mapping[str, object]:
        return {"ties": "mean rank"}


def ranks(values: Array) -> Array:
    """Ranks from 1 of values (N,); equal ones share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse]
