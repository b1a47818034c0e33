"""Tokens that are guessed, so that a model reads several in one step (Leviathan et al. 2023).

Guesses cost no exactness: the engine keeps one only where it is what the request would have been
given in its place. See `Engine`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Wish(NamedTuple):
    """A sequence whose next tokens are to be guessed.

    Attributes:
        key: of its request.
        tokens: all so far.
        most: as many guesses at most, one or more.
    """

    key: int
    tokens: Sequence[int]
    most: int


class Drafter(Protocol):
    """Guesses what comes next."""

    def draft(self, wishes: Sequence[Wish]) -> list[list[int]]:
        """Guesses for each sequence; none where there is nothing to go by."""

    def forget(self, key: int) -> None:
        """A request is done."""


class PromptLookup:
    """Guesses that what was said before is said again (Saxena 2023, "Prompt Lookup Decoding").

    The last tokens are looked up among those before: what followed them last time is the guess. A
    guess that reaches the end goes on with itself, so that a repetition is repeated.

    Args:
        longest, shortest: how many of the last tokens are looked up, the longest first.
    """

    def __init__(self, longest: int = 4, shortest: int = 2) -> None:
        self.lengths = range(longest, shortest - 1, -1)
        self.known: dict[int, tuple[int, dict[tuple[int, ...], int]]] = {}

    def draft(self, wishes: Sequence[Wish]) -> list[list[int]]:
        return [self._guess(wish) for wish in wishes]

    def forget(self, key: int) -> None:
        self.known.pop(key, None)

    def _guess(self, wish: Wish) -> list[int]:
        tokens = wish.tokens
        known, places = self.known.get(wish.key, (0, {}))
        # What ends with the last token is looked up, and not yet known.
        for end in range(known, len(tokens)):
            for length in self.lengths:
                if length <= end:
                    places[tuple(tokens[end - length : end])] = end
        self.known[wish.key] = (len(tokens), places)
        for length in self.lengths:
            place = places.get(tuple(tokens[-length:]))
            if place is not None:
                period = len(tokens) - place
                return [tokens[place + number % period] for number in range(wish.most)]
        return []


class DraftLengths:
    """How many tokens to guess for each request: more while guesses are right.

    Twice as many after a step in which all were, up to `most`; else one more than were right.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.lengths: dict[int, int] = {}

    def of(self, key: int) -> int:
        return self.lengths.setdefault(key, min(4, self.most))

    def learn(self, key: int, drafted: int, right: int) -> None:
        """What became of a step's guesses."""
        length = 2 * self.of(key) if right == drafted else right + 1
        self.lengths[key] = min(self.most, length)

    def forget(self, key: int) -> None:
        self.lengths.pop(key, None)
