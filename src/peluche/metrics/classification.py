"""Scores of one label per example."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from peluche.errors import DataError
from peluche.metrics.base import Array
from peluche.metrics.counts import FIGURES, Share, measure_counts
from peluche.metrics.scoring import Measurement


def measure_classification(
    predicted: Sequence[str], gold: Sequence[str], labels: Sequence[str] | None = None
) -> list[Measurement]:
    """Accuracy, then precision, recall and F1: their mean over labels, and of each label.

    With one label per example the micro averages all are the accuracy, and are left out.

    Args:
        labels: the order of the labels, and those that the mean is over; all that occur, sorted,
            if not given.

    Raises:
        DataError: no examples, not as many predictions, or a label that `labels` does not hold.
    """
    labels = _labels(predicted, gold, labels)
    counts = label_counts(predicted, gold, labels)
    right = np.array([p == g for p, g in zip(predicted, gold, strict=True)], dtype=np.float64)
    shares = np.stack([right, np.ones_like(right)], 1)
    accuracy = Measurement(Share("accuracy", "example"), shares)
    return [accuracy, *measure_counts(counts, labels, "example", averages=("macro",))]


def split_averages(
    measured: Sequence[Measurement],
) -> tuple[Sequence[Measurement], Sequence[Measurement]]:
    """What `measure_classification` gives: accuracy and means over labels, and each label's."""
    return measured[: 1 + len(FIGURES)], measured[1 + len(FIGURES) :]


def label_counts(predicted: Sequence[str], gold: Sequence[str], labels: Sequence[str]) -> Array:
    """(N, 3·C) counts per example, see `CountScore`."""
    numbers = {label: number for number, label in enumerate(labels)}
    counts = np.zeros((len(gold), len(labels), 3))
    rows = np.arange(len(gold))
    said = np.array([numbers[label] for label in predicted], dtype=np.int64)
    true = np.array([numbers[label] for label in gold], dtype=np.int64)
    counts[rows, said, 1] = 1
    counts[rows, true, 2] = 1
    agree = rows[said == true]
    counts[agree, true[agree], 0] = 1
    return counts.reshape(len(gold), -1)


def confusion_matrix(
    predicted: Sequence[str], gold: Sequence[str], labels: Sequence[str] | None = None
) -> Array:
    """(C, C): how often each gold label (row) was called each label (column).

    Raises:
        DataError: as `measure_classification`.
    """
    labels = _labels(predicted, gold, labels)
    numbers = {label: number for number, label in enumerate(labels)}
    matrix = np.zeros((len(labels), len(labels)))
    for said, true in zip(predicted, gold, strict=True):
        matrix[numbers[true], numbers[said]] += 1
    return matrix


def _labels(
    predicted: Sequence[str], gold: Sequence[str], labels: Sequence[str] | None
) -> list[str]:
    if not gold:
        raise DataError("there are no examples to score", remedy="give at least one")
    if len(predicted) != len(gold):
        raise DataError(
            f"{len(predicted)} predictions but {len(gold)} gold labels",
            remedy="give one prediction per example, in the same order",
        )
    found = sorted({*predicted, *gold})
    if labels is None:
        return found
    unknown = [label for label in found if label not in set(labels)]
    if unknown:
        raise DataError(
            f"the label '{unknown[0]}' is not one of {', '.join(labels)}",
            remedy="use the same labels in training and evaluation data",
        )
    return list(labels)
