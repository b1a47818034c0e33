"""Word error rate and exact match."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from peluche.metrics.base import Array, MeanMetric, SegmentMetric
from peluche.metrics.edits import edit_distance
from peluche.metrics.words import WordSplitter


class WordErrorRate(SegmentMetric):
    """WER: substitutions, deletions and insertions per reference word, in percent.

    The corpus score is the edits of all segments over the words of all references. With no
    reference words at all it is 0 if there are no edits and 100 otherwise, as for TER.

    Args:
        tokenize: how words are found; "char" makes it the character error rate without spaces.
        lowercase: compare in lower case.
    """

    name = "wer"
    better = "lower"

    def __init__(self, *, tokenize: str = "none", lowercase: bool = False) -> None:
        self._split = WordSplitter(tokenize, lowercase)

    def preprocess(self, text: str) -> list[str]:
        return self._split(text)

    def segment(self, hypothesis: list[str], reference: list[str]) -> tuple[float, ...]:
        return edit_distance(hypothesis, reference), len(reference)

    def aggregate(self, sums: Array) -> Array:
        edits, words = sums[..., 0], sums[..., 1]
        return 100 * np.where(words > 0, edits / np.maximum(words, 1), edits > 0)

    def settings(self) -> Mapping[str, object]:
        return self._split.settings


class ExactMatch(MeanMetric):
    """The share of hypotheses equal to a reference, in percent; white space at the ends is free.

    Args:
        lowercase: compare in lower case.
    """

    name = "exact_match"

    def __init__(self, *, lowercase: bool = False) -> None:
        self._lowercase = lowercase

    def preprocess(self, text: str) -> list[str]:
        return [(text.lower() if self._lowercase else text).strip()]

    def value(self, hypothesis: list[str], reference: list[str]) -> float:
        return float(hypothesis == reference)

    def settings(self) -> Mapping[str, object]:
        return {"case": "lc" if self._lowercase else "mixed", "strip": "ends"}
