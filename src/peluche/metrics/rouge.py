"""ROUGE-1, ROUGE-2 and ROUGE-L F1 (Lin, 2004, "ROUGE: A Package for Automatic Evaluation")."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from peluche.metrics.base import MeanMetric
from peluche.metrics.edits import common_subsequence

WORD = re.compile(r"[a-z0-9]+")


class Rouge(MeanMetric):
    """F1 of shared n-grams, or of the longest common subsequence; the mean over segments.

    Words are runs of a-z and 0-9 after lowering, without stemming, as in the `rouge-score`
    package: letters with accents and other scripts are not seen, so it is a metric for English.
    A text without words scores 0.

    Args:
        variant: "1", "2" or "L".
    """

    def __init__(self, variant: str) -> None:
        self.name = f"rouge{variant}"
        self._variant = variant

    def preprocess(self, text: str) -> list[str]:
        return WORD.findall(text.lower())

    def value(self, hypothesis: list[str], reference: list[str]) -> float:
        if self._variant == "L":
            return f1(common_subsequence(hypothesis, reference), len(hypothesis), len(reference))
        order = int(self._variant)
        found, wanted = ngrams(hypothesis, order), ngrams(reference, order)
        return f1((found & wanted).total(), found.total(), wanted.total())

    def settings(self) -> Mapping[str, object]:
        return {"case": "lc", "tok": "a-z0-9", "stem": "no", "measure": "f1", "mean": "segments"}


def ngrams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    """How often each run of `order` tokens occurs."""
    return Counter(zip(*(tokens[start:] for start in range(order)), strict=False))


def f1(shared: int, found: int, wanted: int) -> float:
    """The harmonic mean of precision shared / found and recall shared / wanted; 0 if undefined."""
    return 2 * shared / (found + wanted) if shared else 0.0
