"""Words of a sentence, which token belongs to which, and attention between words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from peluche.reporting.explanation import Matrix, Token

# A word keeps its elided apostrophe (l'|ours), a clitic keeps its own (it|'s), and every other
# character stands alone.
_WORD = re.compile(r"\w+['’](?=\w)(?!(?:s|t|re|ve|m|ll|d)\b)|['’]?\w+|[^\w\s]", re.IGNORECASE)


class Span(NamedTuple):
    """From one character to before another."""

    start: int
    end: int


def word_spans(text: str) -> list[Span]:
    """Where the words and punctuation marks of a text stand."""
    return [Span(*match.span()) for match in _WORD.finditer(text)]


def word_of(piece: Span, words: Sequence[Span]) -> int | None:
    """The word that a piece of the text has most characters of, else the word right after it."""
    overlaps = [min(piece.end, word.end) - max(piece.start, word.start) for word in words]
    longest = max(overlaps, default=0)
    if longest > 0:
        return overlaps.index(longest)
    return next((n for n, word in enumerate(words) if word.start == piece.end), None)


def align(
    weights: Matrix,
    read: Sequence[Token],
    said: Sequence[Token],
    source_words: int,
    target_words: int,
) -> Matrix:
    """Attention between words from attention between tokens.

    Args:
        weights: (said, read), rows sum to one.
        read: the source's tokens.
        said: the tokens that the rows of `weights` chose.

    Returns:
        (target words, source words). A source word gets the sum over its tokens, a target word
        the mean over its own; what goes to tokens outside words is shared out among the words in
        proportion, so that rows sum to one. A target word without tokens has a row of zeros.
    """
    rows = _membership(said, target_words)
    columns = _membership(read, source_words)
    summed = rows.T @ weights @ columns
    total = summed.sum(axis=1, keepdims=True)
    return np.divide(summed, total, out=np.zeros_like(summed), where=total > 0)


def _membership(tokens: Sequence[Token], words: int) -> Matrix:
    """(tokens, words), one where a token is a part of a word."""
    member = np.zeros((len(tokens), words), dtype=np.float32)
    for number, token in enumerate(tokens):
        if token.word is not None:
            member[number, token.word] = 1
    return member
