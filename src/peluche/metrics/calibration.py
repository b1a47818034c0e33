"""How good probabilities are: negative log-likelihood, and calibration error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from peluche.metrics.base import Array, Metric
from peluche.metrics.scoring import Measurement

BINS = 15


class MeanNll(Metric):
    """Negative log-likelihood per example in nats; its statistics are (−log p, 1)."""

    name = "nll"
    better = "lower"

    def aggregate(self, sums: Array) -> Array:
        return sums[..., 0] / sums[..., 1]

    def settings(self) -> Mapping[str, object]:
        return {"unit": "example", "log": "e"}


class CalibrationError(Metric):
    """Expected calibration error times 100 (Guo et al. 2017, eq. 3).

    Examples are put into bins by the probability of the label that was chosen; the error is the
    mean over examples of how far accuracy and mean probability of their bin are apart. Statistics
    are (right, probability, 1) in the columns of the example's bin, 3·bins numbers.
    """

    name = "ece"
    better = "lower"

    def __init__(self, bins: int = BINS) -> None:
        self.bins = bins

    def aggregate(self, sums: Array) -> Array:
        bins = sums.reshape(*sums.shape[:-1], self.bins, 3)
        apart = np.abs(bins[..., 0] - bins[..., 1]).sum(-1)
        return 100 * apart / bins[..., 2].sum(-1)

    def settings(self) -> Mapping[str, object]:
        return {"unit": "example", "bins": self.bins}


def measure_probabilities(probabilities: Array, gold: Sequence[int]) -> list[Measurement]:
    """NLL and calibration error of probabilities (N, C) where class `gold` is right in each row."""
    rows = np.arange(len(gold))
    likelihood = probabilities[rows, gold]
    with np.errstate(divide="ignore"):
        nll = np.stack([-np.log(likelihood), np.ones(len(rows))], 1)
    chosen = probabilities.argmax(1)
    confidence = probabilities[rows, chosen]
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    statistics = np.zeros((len(rows), BINS, 3))
    statistics[rows, bins] = np.stack([chosen == gold, confidence, np.ones(len(rows))], 1)
    return [
        Measurement(MeanNll(), nll),
        Measurement(CalibrationError(), statistics.reshape(len(rows), -1)),
    ]
