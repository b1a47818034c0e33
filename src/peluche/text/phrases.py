"""Pairs of words that occur together so often that they are better read as one word."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import pairwise

from pydantic import Field

from peluche.config import Config
from peluche.text.counting import PrunedCounter

JOINT = "_"

Pair = tuple[str, str]


class PhrasesConfig(Config):
    """Which pairs become phrases (Mikolov et al. 2013, arXiv 1310.4546, §4, eq. 6).

    Attributes:
        min_count: δ, taken off a pair's count, so that rare pairs of rare words do not score.
        threshold: what a pair has to score. The score is the paper's times the number of words in
            the text, as in the authors' word2phrase: how many times as often the pair occurs as it
            would if words had no order.
        passes: two passes find phrases of up to four words.
    """

    min_count: int = Field(5, ge=1)
    threshold: float = Field(100.0, gt=0)
    passes: int = Field(1, ge=1, le=4)


def learn_phrases(texts: Iterable[list[str]], config: PhrasesConfig) -> list[Pair]:
    """The pairs that score over the threshold, sorted."""
    words: PrunedCounter[str] = PrunedCounter()
    pairs: PrunedCounter[Pair] = PrunedCounter()
    for text in texts:
        words.update(text)
        pairs.update(list(pairwise(text)))
    found = []
    for (one, other), together in pairs.counts.items():
        by_chance = words.counts[one] * words.counts[other] / words.total
        if together - config.min_count > config.threshold * by_chance > 0:
            found.append((one, other))
    return sorted(found)


def join(words: list[str], pairs: Collection[Pair]) -> list[str]:
    """The words, with these pairs joined by "_", from left to right."""
    joined: list[str] = []
    position, last = 0, len(words) - 1
    while position < last:
        pair = (words[position], words[position + 1])
        together = pair in pairs
        joined.append(JOINT.join(pair) if together else pair[0])
        position += 2 if together else 1
    return joined + words[position:]
