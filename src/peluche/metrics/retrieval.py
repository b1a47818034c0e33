"""How far up the right item stands in a ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from peluche.metrics.base import Array, Metric
from peluche.metrics.counts import Share
from peluche.metrics.scoring import Measurement


class ReciprocalRank(Metric):
    """100 · mean of 1/rank of the right item (Voorhees 1999); its statistics are (1/rank, 1)."""

    name = "mrr"

    def aggregate(self, sums: Array) -> Array:
        return 100 * sums[..., 0] / sums[..., 1]

    def settings(self) -> Mapping[str, object]:
        return {"unit": "query"}


def measure_ranks(ranks: Sequence[int], among: Sequence[int] = (1, 5, 10)) -> list[Measurement]:
    """Share of queries whose right item is among the first so many, and the mean reciprocal rank.

    Args:
        ranks: of each query's right item, from 1.
    """
    found = np.asarray(ranks, dtype=np.float64)
    ones = np.ones_like(found)
    shares = [
        Measurement(Share(f"recall_at_{count}", "query"), np.stack([found <= count, ones], 1))
        for count in among
    ]
    return [*shares, Measurement(ReciprocalRank(), np.stack([1 / found, ones], 1))]
