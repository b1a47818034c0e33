"""What a tokenizer does to text, in figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from peluche.errors import DataError
from peluche.text.pipelines import Kind
from peluche.text.tokenizer import Tokenizer

HELD_OUT_EVERY = 10


@dataclass(frozen=True)
class TokenizerStatistics:
    """Counts over a text, and the rates that follow from them.

    Args:
        kind: of the tokenizer.
        vocab_size: its entries, special tokens included.
        texts: lines measured.
        words: stretches between whitespace.
        characters: Unicode code points.
        tokens: without [BOS] and [EOS].
        unknown: tokens that are [UNK].
    """

    kind: Kind
    vocab_size: int
    texts: int
    words: int
    characters: int
    tokens: int
    unknown: int

    @property
    def fertility(self) -> float:
        """Tokens per word (Rust et al. 2021, arXiv 2012.15613)."""
        return self.tokens / self.words

    @property
    def unknown_rate(self) -> float:
        """The share of tokens that are [UNK], between 0 and 1."""
        return self.unknown / self.tokens

    @property
    def mean_length(self) -> float:
        """Tokens per text."""
        return self.tokens / self.texts

    @property
    def characters_per_token(self) -> float:
        """How much text one token carries."""
        return self.characters / self.tokens

    def as_json(self) -> dict[str, Any]:
        """Counts and rates as plain values."""
        rates = ("fertility", "unknown_rate", "mean_length", "characters_per_token")
        return {**asdict(self), **{name: getattr(self, name) for name in rates}}


def measure(tokenizer: Tokenizer, texts: Iterable[str]) -> TokenizerStatistics:
    """Encode texts and count.

    Raises:
        DataError: if no text holds a word.
    """
    count = words = characters = tokens = unknown = 0
    remaining = iter(texts)
    while batch := list(islice(remaining, 1000)):
        count += len(batch)
        words += sum(len(text.split()) for text in batch)
        characters += sum(map(len, batch))
        for ids in tokenizer.encode_batch(batch):
            tokens += len(ids)
            unknown += ids.count(tokenizer.unk_id)
    if not words:
        raise DataError("there is no text to measure", remedy="give at least one line of words")
    return TokenizerStatistics(
        kind=tokenizer.kind,
        vocab_size=tokenizer.vocab_size,
        texts=count,
        words=words,
        characters=characters,
        tokens=tokens,
        unknown=unknown,
    )


def hold_out(texts: Sequence[str], every: int = HELD_OUT_EVERY) -> tuple[list[str], list[str]]:
    """Texts to learn from, and every tenth one to measure on.

    Raises:
        DataError: if there are fewer texts than that.
    """
    held_out = list(texts[every - 1 :: every])
    if not held_out:
        raise DataError(
            f"{len(texts)} lines are too few to hold out every {every}th",
            remedy=f"give at least {every} lines",
        )
    return [text for number, text in enumerate(texts, 1) if number % every], held_out
