"""METEOR with exact and, where wanted, stem matches (Banerjee and Lavie, 2005)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from peluche.errors import ConfigError, MissingExtraError, did_you_mean
from peluche.metrics.base import MeanMetric
from peluche.metrics.words import WordSplitter

# Banerjee and Lavie (2005), sections 2.2 and 2.3: recall weighs nine times precision; a fully
# fragmented match loses half. In the notation of Lavie and Agarwal (2007) and of NLTK:
ALPHA, BETA, GAMMA = 0.9, 3, 0.5

Stage = Callable[[str], str]


class Meteor(MeanMetric):
    """Weighted harmonic mean of unigram precision and recall, less for scattered matches.

    ``(1 - gamma * (chunks / matches) ** beta) * P * R / (alpha * P + (1 - alpha) * R)``: the
    mean over segments, in percent. Even two equal sentences of m words score a little under
    100, ``100 * (1 - 0.5 / m ** 3)``; a text without words scores 0. There is no synonym stage.
    Time grows with the square of the sentence length.

    Args:
        tokenize: how words are found, by one of sacreBLEU's tokenisers; they are lowered.
        stem: a language of the Snowball stemmers ("english", "french", ...) or "porter"; words
            that match nothing exactly may then match by stem. None for exact matches only.

    Raises:
        ConfigError: if there is no such stemmer.
        MissingExtraError: if `stem` is given and NLTK is not installed.
    """

    name = "meteor"

    def __init__(self, *, tokenize: str = "13a", stem: str | None = None) -> None:
        self._split = WordSplitter(tokenize, lowercase=True)
        self._stages: list[Stage] = [str] if stem is None else [str, _stemmer(stem)]
        self._stage_names = "exact" if stem is None else f"exact+stem[{stem}]"

    def preprocess(self, text: str) -> list[str]:
        return self._split(text)

    def value(self, hypothesis: list[str], reference: list[str]) -> float:
        pairs = align(hypothesis, reference, self._stages)
        if not pairs:
            return 0.0
        precision, recall = len(pairs) / len(hypothesis), len(pairs) / len(reference)
        mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
        return (1 - GAMMA * (chunks(pairs) / len(pairs)) ** BETA) * mean

    def settings(self) -> Mapping[str, object]:
        formula = {"alpha": ALPHA, "beta": BETA, "gamma": GAMMA, "mean": "segments"}
        return {**self._split.settings, "stages": self._stage_names, "align": "runs", **formula}


def align(
    hypothesis: Sequence[str], reference: Sequence[str], stages: Sequence[Stage]
) -> list[tuple[int, int]]:
    """Pairs (hypothesis position, reference position), each position at most once, in order.

    A stage maps words to keys; words with equal keys may be paired, if no earlier stage did.
    Each stage makes as many pairs as there can be. Where words repeat there is a choice: the
    longest runs of adjacent words go first, of equal ones those nearest to the same position.
    (The paper asks for the fewest crossings; NLTK pairs from right to left, without a search.)
    """
    partner: dict[int, int] = {}
    for stage in stages:
        taken = set(partner.values())
        places: dict[str, list[int]] = defaultdict(list)
        for j, word in enumerate(reference):
            if j not in taken:
                places[stage(word)].append(j)
        unpaired = [(i, stage(word)) for i, word in enumerate(hypothesis) if i not in partner]
        free = [(i, j) for i, key in unpaired for j in places.get(key, ())]
        while free:
            starts, length = _longest_runs(free)
            for i, j in starts:
                run = [(i + offset, j + offset) for offset in range(length)]
                if not any(left in partner or right in taken for left, right in run):
                    partner.update(run)
                    taken.update(right for _, right in run)
            free = [(i, j) for i, j in free if i not in partner and j not in taken]
    return sorted(partner.items())


def _longest_runs(pairs: list[tuple[int, int]]) -> tuple[list[tuple[int, int]], int]:
    """Where the longest diagonal runs of `pairs` (ordered) start, and their length."""
    runs: dict[tuple[int, int], int] = {}
    for i, j in reversed(pairs):
        runs[i, j] = 1 + runs.get((i + 1, j + 1), 0)
    longest = max(runs.values())
    starts = [pair for pair in pairs if runs[pair] == longest]
    return sorted(starts, key=lambda pair: abs(pair[0] - pair[1])), longest


def chunks(pairs: Sequence[tuple[int, int]]) -> int:
    """How many runs, adjacent in both texts, ordered pairs fall into."""
    follows = {(i + 1, j + 1) for i, j in pairs}
    return sum(pair not in follows for pair in pairs)


def _stemmer(language: str) -> Stage:
    try:
        from nltk.stem.snowball import SnowballStemmer
    except ImportError:
        raise MissingExtraError(
            "stem matches in METEOR need NLTK's stemmers",
            remedy="pip install 'peluche[meteor]', or leave the stem option out",
        ) from None
    if language not in SnowballStemmer.languages:
        raise ConfigError(
            f"there is no stemmer for '{language}'",
            remedy=did_you_mean(language, SnowballStemmer.languages),
        )
    stem: Stage = SnowballStemmer(language).stem
    return stem
