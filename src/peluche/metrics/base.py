"""What a metric is: per-segment sufficient statistics, and one formula over their sum.

The idea is sacreBLEU's (Post, 2018, "A Call for Clarity in Reporting BLEU Scores"): once each
segment is reduced to a row of numbers that add up, the corpus score is the formula of the sum,
a sentence score the formula of one row, and a bootstrap resample the formula of another sum.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from peluche import __version__

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """One metric of one system on one corpus.

    Attributes:
        metric: the metric's name, e.g. "bleu".
        score: on the scale 0 to 100 (error rates may exceed it; perplexity is at least 1).
        signature: everything that changes the number, as ``key:value`` joined by ``|``.
        ci: 95 % bootstrap percentile interval, or None if no resamples were drawn.
    """

    metric: str
    score: float
    signature: str
    ci: tuple[float, float] | None

    def as_json(self) -> dict[str, Any]:
        """The attributes as a dictionary that `json.dumps` takes."""
        return asdict(self)


class Metric(ABC):
    """Turns summed statistics into a score and says what the score depends on.

    Attributes:
        name: as users write it.
        better: whether a good system has a high or a low score.
    """

    name: str
    better: Literal["higher", "lower"] = "higher"

    @abstractmethod
    def aggregate(self, sums: Array) -> Array:
        """Scores (...) from sums of per-segment statistics (..., K)."""

    @abstractmethod
    def settings(self) -> Mapping[str, object]:
        """What changes the number, apart from references, resampling and version."""

    def for_sentences(self) -> Metric:
        """The metric that scores single sentences from the same statistics: usually this one."""
        return self

    def signature(self, counts: Mapping[str, int]) -> str:
        """`counts` (references, resamples, seed), then the settings, then the version."""
        parts = {**counts, **self.settings(), "version": f"peluche-{__version__}"}
        return "|".join(f"{key}:{value}" for key, value in parts.items())


class TextMetric(Metric):
    """A metric of hypotheses against references."""

    @abstractmethod
    def statistics(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
        """Per-segment statistics (N, K) of N hypotheses against lists of N references each."""


class SegmentMetric(TextMetric):
    """A text metric that compares one hypothesis with one reference, as lists of tokens.

    Of several references the one with the best sentence score counts; the first if they tie.
    """

    @abstractmethod
    def preprocess(self, text: str) -> list[str]:
        """The tokens to compare."""

    @abstractmethod
    def segment(self, hypothesis: list[str], reference: list[str]) -> tuple[float, ...]:
        """The K statistics of one pair."""

    def statistics(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
        rows = []
        for hypothesis, *alternatives in zip(hypotheses, *references, strict=True):
            tokens = self.preprocess(hypothesis)
            candidates = [self.segment(tokens, self.preprocess(text)) for text in alternatives]
            rows.append(candidates[0] if len(candidates) == 1 else self._best(candidates))
        return np.array(rows, dtype=np.float64)

    def _best(self, candidates: list[tuple[float, ...]]) -> tuple[float, ...]:
        scores = self.aggregate(np.array(candidates, dtype=np.float64))
        best = np.argmax(scores) if self.better == "higher" else np.argmin(scores)
        return candidates[int(best)]


class MeanMetric(SegmentMetric):
    """A segment metric whose corpus score is the mean of the sentence scores, times 100.

    Its statistics are (value in 0..1, 1).
    """

    @abstractmethod
    def value(self, hypothesis: list[str], reference: list[str]) -> float:
        """The score of one pair, in 0..1."""

    def segment(self, hypothesis: list[str], reference: list[str]) -> tuple[float, ...]:
        return self.value(hypothesis, reference), 1.0

    def aggregate(self, sums: Array) -> Array:
        return 100 * sums[..., 0] / sums[..., 1]
