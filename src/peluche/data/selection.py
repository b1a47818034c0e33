"""Which examples of a source to keep: not the empty ones, a slice of them, the first so many."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, Self, TypeVar

from pydantic import PositiveInt, model_validator

from peluche.config import Config
from peluche.errors import DataError

Empty = Literal["skip", "keep", "error"]
NOT_A_WORD = re.compile(r"[\W_]+")


class Example(Protocol):
    """What a source gives: texts, and where they stand, e.g. ``train.en:17``."""

    @property
    def where(self) -> str: ...

    @property
    def texts(self) -> tuple[str, ...]: ...


E = TypeVar("E", bound=Example)


@dataclass
class SkipReport:
    """Counts the examples that a reader left out because a text of them was empty."""

    empty: int = 0
    first: str | None = None

    def add(self, where: str) -> None:
        """Count one example."""
        self.empty += 1
        self.first = self.first or where

    def __str__(self) -> str:
        if not self.empty:
            return "nothing skipped"
        plural = "example" if self.empty == 1 else "examples"
        return f"skipped {self.empty:,} {plural} with an empty text (the first: {self.first})"


class Selection(Config):
    """What every source can leave out.

    Attributes:
        empty: examples of which a text is empty or blank are skipped, kept, or an error.
        slice: keep the examples whose first text hashes into this part of [0, 1); slices that do
            not overlap share no first text, so that one file can be cut into splits.
        limit: read at most this many examples.
    """

    empty: Empty = "skip"
    slice: tuple[float, float] = (0.0, 1.0)
    limit: PositiveInt | None = None

    @model_validator(mode="after")
    def _slice_is_an_interval(self) -> Self:
        low, high = self.slice
        if not 0 <= low < high <= 1:
            raise ValueError("slice must be [from, to] with 0 <= from < to <= 1, such as [0, 0.1]")
        return self

    def select(
        self, examples: Iterable[E], skipped: SkipReport | None = None, *, some: bool = True
    ) -> Iterator[E]:
        """Those of the examples that are to be used, streaming.

        Args:
            skipped: counts the examples left out because a text is empty.
            some: whether there has to be one at least.

        Raises:
            DataError: if nothing is left, or at an empty text if that is an error.
        """
        skipped = skipped if skipped is not None else SkipReport()
        low, high = self.slice
        read = given = 0
        for example in examples:
            read += 1
            texts = example.texts
            if (low, high) != (0.0, 1.0) and not low <= position(texts[0]) < high:
                continue
            if self.empty != "keep" and not all(text.strip() for text in texts):
                if self.empty == "error":
                    raise DataError("a text of the example is empty", where=example.where)
                skipped.add(example.where)
                continue
            yield example
            given += 1
            if given == self.limit:
                return
        if some and not given:
            blank = skipped.empty == read
            raise DataError(
                "the corpus is empty" if not read else f"none of {read:,} examples is left to use",
                where=skipped if skipped.empty else None,
                remedy="name a file, or a split of the corpus, that holds some"
                if not read or blank
                else f"give more examples, or a wider slice than [{low:g}, {high:g}]",
            )


def position(text: str, salt: str = "") -> float:
    """A text's place in [0, 1): a hash, the same on every machine.

    Case, punctuation and spaces do not count, so "Run!" and "Run." stand at one place and a split
    by intervals cannot part them.
    """
    key = NOT_A_WORD.sub("", text.casefold()) or text
    digest = hashlib.blake2b(f"{salt}\0{key}".encode(), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48  # 48 bits: exact as a float, and never rounded up to 1
