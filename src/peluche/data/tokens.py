"""Tokens in many files as one long row; rows of batches from one or, by weight, several."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from peluche.errors import ConfigError

SMALL, LARGE = np.dtype("<u2"), np.dtype("<u4")
# Orders are drawn from (seed, epoch, one of these), so that none follows another.
OFFSET, ORDER, MIXED = 0, 1, 5


def item_type(vocabulary: int) -> np.dtype:
    """How a token is kept on disk."""
    return SMALL if vocabulary <= np.iinfo(SMALL).max + 1 else LARGE


class Tokens:
    """Tokens in one or several arrays, one after the other.

    Args:
        lengths: of the arrays.
        array: gives one of them by its number, such as a file that is mapped when it is asked for.
    """

    def __init__(
        self, lengths: Sequence[int], array: Callable[[int], NDArray[np.unsignedinteger]]
    ) -> None:
        self.array = array
        self.bounds = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])

    @classmethod
    def of(cls, tokens: NDArray[np.unsignedinteger]) -> Tokens:
        """Those of one array."""
        return cls([len(tokens)], lambda number: tokens)

    def __len__(self) -> int:
        return int(self.bounds[-1])

    def read(self, start: int, count: int) -> NDArray[np.unsignedinteger]:
        """(at most `count`,) tokens from `start` on; fewer at the end."""
        end = min(start + count, len(self))
        number = int(np.searchsorted(self.bounds, start, side="right")) - 1
        pieces = []
        while start < end:
            low, high = int(self.bounds[number]), int(self.bounds[number + 1])
            if start < high:
                pieces.append(self.array(number)[start - low : min(end, high) - low])
                start = min(end, high)
            number += 1
        return np.concatenate(pieces) if pieces else np.empty(0, dtype=LARGE)

    def find(self, token: int) -> NDArray[np.int64]:
        """(N,) where a token stands, in order."""
        places = [
            first + np.flatnonzero(self.array(number) == token)
            for number, first in enumerate(self.bounds[:-1].tolist())
        ]
        return np.concatenate([np.empty(0, dtype=np.int64), *places])

    def starts(self, epoch: int, length: int, seed: int) -> NDArray[np.int64]:
        """(N,) where the rows of `length` tokens of an epoch begin, in the order to read them.

        They begin at another place each epoch, so that no token is always the first of its row,
        and come in another order; less than a row at the front is passed over.
        """
        spare = len(self) - 1 - length
        offset = 0
        if spare > 0:
            random = np.random.default_rng([seed, epoch, OFFSET])
            offset = int(random.integers(min(length, spare + 1)))
        starts = np.arange(offset, len(self) - 1, length)
        return np.random.default_rng([seed, epoch, ORDER]).permutation(starts)


class MixedTokens(Tokens):
    """Several sources of tokens, each with a weight.

    An epoch has as many rows as all sources together. Each source gives its share of them by
    weight, exactly but for a row, and all are shuffled. A source that has given all of its rows
    goes on with them in another order and from another place, whatever epoch the others are in; one
    that has more than its share goes on where it was in the next epoch. So nothing is repeated
    before all of its source has been read, and what a position means does not depend on the past.

    Args:
        sources: of which row by row is taken.
        weights: of their tokens.
    """

    def __init__(self, sources: Sequence[Tokens], weights: Sequence[float]) -> None:
        owners = [source for source in sources for _ in range(len(source.bounds) - 1)]
        inside = [number for source in sources for number in range(len(source.bounds) - 1)]
        lengths = [int(length) for source in sources for length in np.diff(source.bounds)]
        super().__init__(lengths, lambda number: owners[number].array(inside[number]))
        self.sources = sources
        self.weights = np.asarray(weights, dtype=np.float64) / np.sum(weights)

    def starts(self, epoch: int, length: int, seed: int) -> NDArray[np.int64]:
        """(N,) as of `Tokens`, of all sources."""
        # So many rows every epoch of a source has, wherever its first one begins.
        held = [max(1, -(-len(source) // length) - 1) for source in self.sources]
        shares = apportion(sum(held), self.weights)
        first = 0
        chosen = []
        for source, rows, share in zip(self.sources, held, shares, strict=True):
            begin, end = epoch * share, (epoch + 1) * share
            for own in range(begin // rows, -(-end // rows)):
                low, high = max(begin - own * rows, 0), min(end - own * rows, rows)
                chosen.append(first + source.starts(own, length, seed)[low:high])
            first += len(source)
        order = np.random.default_rng([seed, epoch, MIXED])
        return order.permutation(np.concatenate(chosen))


def of_one_corpus(tokens: NDArray[np.unsignedinteger] | Tokens, what: str) -> Tokens:
    """Tokens whose documents are all looked for, rather than rows by weight.

    Args:
        what: are made of them, for the message.

    Raises:
        ConfigError: they are a mixture.
    """
    if isinstance(tokens, MixedTokens):
        raise ConfigError(
            f"{what} are made of the documents of one corpus, not by weight of several",
            where="data.train",
            remedy="put the texts into one source",
        )
    return tokens if isinstance(tokens, Tokens) else Tokens.of(tokens)


def apportion(total: int, shares: NDArray[np.float64]) -> list[int]:
    """Whole numbers that add up to `total` in these shares, by largest remainder."""
    exact = total * shares
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: total - int(counts.sum())]] += 1
    return [int(count) for count in counts]
