"""A sentence as tokens and as words, which belongs to which, and attention between words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from peluche.errors import DataError
from peluche.reporting.explanation import Matrix, Sentence, Token
from peluche.text.pieces import Piece
from peluche.text.tokenizer import Tokenizer

MAX_TOKENS = 60

# A word keeps its elided apostrophe (l'|ours), a clitic keeps its own (it|'s), and every other
# character stands alone.
_WORD = re.compile(r"\w+['’](?=\w)(?!(?:s|t|re|ve|m|ll|d)\b)|['’]?\w+|[^\w\s]", re.IGNORECASE)


class Span(NamedTuple):
    """From one character to before another."""

    start: int
    end: int


def read_source(
    tokenizer: Tokenizer, sentence: str, pieces: Sequence[Piece] | None = None
) -> Sentence:
    """A sentence as the encoder reads it: its tokens, then [EOS].

    Args:
        pieces: its tokens, where it has some that are no text.

    Raises:
        DataError: if it is empty or has more than `MAX_TOKENS` tokens.
    """
    pieces = tokenizer.pieces(sentence) if pieces is None else pieces
    if not sentence.strip() or not pieces:
        raise DataError(
            "the sentence to explain is empty",
            remedy='give one in quotes, e.g. "A cute teddy bear is reading."',
        )
    if len(pieces) > MAX_TOKENS:
        raise DataError(
            f"the sentence has {len(pieces)} tokens; a page can show {MAX_TOKENS}",
            where=f"'{sentence[:60]}…'",
            remedy="shorten the sentence, or split it and explain its parts",
        )
    marks = _marks(tokenizer)
    words = word_spans(sentence, [sentence[p.start : p.end] for p in pieces if p.id in marks])
    tokens = [
        Token(piece.text, piece.id, piece.unknown, word_of(Span(piece.start, piece.end), words))
        for piece in pieces
    ]
    return _ended(tokenizer, sentence, tokens, words)


def read_target(tokenizer: Tokenizer, ids: Sequence[int]) -> Sentence:
    """A translation as the decoder writes it, from its ids, [EOS] last."""
    text = tokenizer.decode(ids[:-1], skip_special=False)
    marks = _marks(tokenizer)
    words = word_spans(text, [tokenizer.token(number) for number in ids[:-1] if number in marks])
    tokens, end = [], 0
    for number, token in enumerate(ids[:-1]):
        start, end = end, len(tokenizer.decode(ids[: number + 1], skip_special=False))
        # A byte that completes a character adds none.
        place = Span(min(start, end - 1), end)
        tokens.append(
            Token(
                tokenizer.readable(token),
                token,
                token == tokenizer.unk_id,
                word_of(place, words),
            )
        )
    return _ended(tokenizer, text, tokens, words)


def _marks(tokenizer: Tokenizer) -> set[int]:
    """Tokens that are words of their own, however they are spelt."""
    return tokenizer.special_ids - {tokenizer.unk_id}


def _ended(
    tokenizer: Tokenizer, text: str, tokens: Sequence[Token], words: Sequence[Span]
) -> Sentence:
    """The sentence with [EOS], which is a word of its own."""
    name = tokenizer.token(tokenizer.eos_id)
    return Sentence(
        text=text,
        tokens=(*tokens, Token(name, tokenizer.eos_id, False, len(words))),
        words=(*(text[word.start : word.end] for word in words), name),
    )


def beginning(tokenizer: Tokenizer) -> Token:
    """[BOS], which the decoder reads first."""
    return Token(tokenizer.token(tokenizer.bos_id), tokenizer.bos_id, False, None)


def word_spans(text: str, marks: Sequence[str] = ()) -> list[Span]:
    """Where words and punctuation marks stand in a text, and `marks`, such as [MASK]."""
    whole = re.compile("|".join([*map(re.escape, marks), _WORD.pattern]), _WORD.flags)
    return [Span(*match.span()) for match in whole.finditer(text)]


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
