"""Shares, precision, recall and F1 from counts: what classification, tagging and parsing share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from peluche.metrics.base import Array, Metric
from peluche.metrics.scoring import Measurement

Figure = Literal["precision", "recall", "f1"]
FIGURES: tuple[Figure, ...] = ("precision", "recall", "f1")


class Share(Metric):
    """100 · right / all; its statistics are (right, all). Nothing at all scores 0."""

    def __init__(self, name: str, unit: str) -> None:
        self.name, self.unit = name, unit

    def aggregate(self, sums: Array) -> Array:
        return 100 * _divide(sums[..., 0], sums[..., 1])

    def settings(self) -> Mapping[str, object]:
        return {"unit": self.unit}


class CountScore(Metric):
    """Precision, recall or F1 times 100, of one kind of item or averaged over several.

    Statistics are (both, predicted, gold) for each of C kinds, 3·C numbers: how many items are in
    the prediction and the gold standard, in the prediction, in the gold standard. A quotient
    whose denominator is zero is 0, as in scikit-learn.

    Args:
        average: "micro" sums the counts of all kinds, "macro" takes the mean of their figures,
            and the name of a kind looks at that one alone.
    """

    def __init__(self, figure: Figure, average: str, kinds: Sequence[str], unit: str) -> None:
        self.figure, self.average, self.kinds, self.unit = figure, average, list(kinds), unit
        known = average in ("micro", "macro")
        self.name = f"{figure}_{average}" if known else f"{figure}[{average}]"

    def aggregate(self, sums: Array) -> Array:
        counts = sums.reshape(*sums.shape[:-1], len(self.kinds), 3)
        if self.average == "micro":
            return 100 * _figure(self.figure, counts.sum(-2))
        if self.average == "macro":
            return 100 * _figure(self.figure, counts).mean(-1)
        return 100 * _figure(self.figure, counts[..., self.kinds.index(self.average), :])

    def settings(self) -> Mapping[str, object]:
        return {"average": self.average, "unit": self.unit, "kinds": len(self.kinds)}


def measure_counts(
    counts: Array,
    kinds: Sequence[str],
    unit: str,
    *,
    averages: Sequence[str] = ("micro", "macro"),
) -> list[Measurement]:
    """Precision, recall and F1 of each average, then of each kind where there are several.

    Args:
        counts: (N, 3·C) per segment, see `CountScore`.
    """
    wanted = [*averages, *(kinds if len(kinds) > 1 else [])]
    return [
        Measurement(CountScore(figure, average, kinds, unit), counts)
        for average in wanted
        for figure in FIGURES
    ]


def _figure(figure: Figure, counts: Array) -> Array:
    both, predicted, gold = (counts[..., column] for column in range(3))
    if figure == "precision":
        return _divide(both, predicted)
    if figure == "recall":
        return _divide(both, gold)
    return _divide(2 * both, predicted + gold)


def _divide(numerator: Array, denominator: Array) -> Array:
    zeros = np.zeros(np.broadcast_shapes(numerator.shape, denominator.shape))
    return np.divide(numerator, denominator, out=zeros, where=denominator != 0)
