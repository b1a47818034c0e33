"""Counting more things than fit in memory, as long as only the frequent ones matter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

# Pairs of words in some 300 MB.
LARGEST = 2_000_000

T = TypeVar("T", bound=Hashable)


class PrunedCounter(Generic[T]):
    """Counts; when there are too many, the rarest are forgotten, as in the authors' word2vec.

    Each time the limit is passed, the count up to which things are forgotten rises by one.

    Attributes:
        counts: of each thing, as far as it was not forgotten.
        total: of all things, forgotten ones included.
        forgotten: counts are too low by this much at most.
    """

    def __init__(self, largest: int = LARGEST) -> None:
        self.largest = largest
        self.counts: Counter[T] = Counter()
        self.total = self.forgotten = 0

    def update(self, things: Sequence[T]) -> None:
        """Count things."""
        self.counts.update(things)
        self.total += len(things)
        while len(self.counts) > self.largest:
            self.forgotten += 1
            self.counts = Counter(
                {thing: count for thing, count in self.counts.items() if count > self.forgotten}
            )
