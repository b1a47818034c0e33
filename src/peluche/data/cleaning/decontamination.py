"""Texts that hold what a model is going to be evaluated on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from peluche.data.cleaning.steps import Dropped
from peluche.data.text_parts import PlainText
from peluche.errors import DataError

WORD = re.compile(r"\w+")
SHORTEST = 8


class Decontamination:
    """Leaves out texts that share n-grams of words with evaluation sets.

    Brown et al. 2020 (GPT-3, arXiv 2005.14165, appendix C): lower case, without punctuation,
    13-grams; an example that is shorter counts as one n-gram if it has eight words. There a window
    around the n-gram was cut out, here the text is left out. Keeps all n-grams of the evaluation
    sets in memory, and nothing of the texts.

    Args:
        examples: of the evaluation sets.
        n: words that have to be the same in a row.
        matches: how many different n-grams a text has to share to be left out.

    Raises:
        DataError: no example has enough words.

    Attributes:
        short: examples with too few words to be told.
    """

    def __init__(self, examples: Iterable[PlainText], n: int = 13, matches: int = 1) -> None:
        self.matches, self.short = matches, 0
        self.known: dict[int, dict[str, str]] = {}
        for example in examples:
            words = _words(example.text)
            size = min(n, len(words))
            if size < min(n, SHORTEST):
                self.short += 1
                continue
            of_size = self.known.setdefault(size, {})
            for gram in _grams(words, size):
                of_size.setdefault(gram, example.where)
        if not self.known:
            raise DataError(
                f"no example of the evaluation sets has {min(n, SHORTEST)} words",
                remedy="give the files that hold the questions, and the column with --column",
            )

    def __call__(self, text: PlainText) -> str | Dropped:
        words = _words(text.text)
        shared: dict[str, str] = {}
        for size, known in self.known.items():
            for gram in _grams(words, size):
                if gram in known:
                    shared[gram] = known[gram]
                    if len(shared) >= self.matches:
                        return Dropped("contamination", f"{gram!r}, as in {shared[gram]}")
        return text.text


def _words(text: str) -> list[str]:
    return WORD.findall(text.casefold())


def _grams(words: Sequence[str], size: int) -> Iterator[str]:
    for start in range(len(words) - size + 1):
        yield " ".join(words[start : start + size])
