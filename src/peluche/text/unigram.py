"""Learning a unigram language model of pieces (Kudo 2018, arXiv 1804.10959, section 3.2).

The trainer of the `tokenizers` library is not used: it draws its candidates from the list of
distinct words, so that a word which is not part of another one, such as "and", can never become a
piece, and its result is not the same every time.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

LONGEST_PIECE = 16
CANDIDATES_PER_ENTRY = 10
KEPT_PER_ROUND = 0.75
ITERATIONS_PER_ROUND = 2
ENOUGH = 1.1
LEAST_EXPECTED = 0.5

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def learn_pieces(words: Mapping[str, int], size: int) -> list[tuple[str, float]]:
    """The `size` pieces under which the words are most likely, with their log-probabilities.

    Starts from many substrings of the words; fits their probabilities by expectation maximization,
    drops the quarter that the likelihood needs least, and repeats.

    Args:
        words: words with their counts.
        size: at least the number of distinct characters; all of these are kept.

    Returns:
        Pieces by falling score; fewer than `size` if the words have no use for more.
    """
    pieces, occurrences = _candidates(words, CANDIDATES_PER_ENTRY * size)
    numbers = {piece: number for number, piece in enumerate(pieces)}
    counts = np.array(list(words.values()), dtype=np.float64)
    texts, recuts = Lattice(words, numbers), Lattice(pieces, numbers, proper=True)
    single = np.array([len(piece) == 1 for piece in pieces])
    scores = np.log(occurrences / occurrences.sum())
    while True:
        for _ in range(ITERATIONS_PER_ROUND):
            expected = texts.expected_counts(scores, counts)
            alive = single | (expected >= LEAST_EXPECTED)
            expected = np.where(alive, np.maximum(expected, LEAST_EXPECTED), 0)
            with np.errstate(divide="ignore"):
                scores = np.log(expected / expected.sum())
            texts.keep(alive)
        if alive.sum() <= ENOUGH * size:
            break
        recuts.keep(alive)
        losses = np.where(single, np.inf, _losses(texts, recuts, scores, counts))
        alive = _highest(losses, max(int(ENOUGH * size), int(KEPT_PER_ROUND * alive.sum())))
        texts.keep(alive)
    alive = _highest(np.where(single, np.inf, scores), size)
    found = [(pieces[number], round(float(scores[number]), 6)) for number in np.flatnonzero(alive)]
    return sorted(found, key=lambda item: (-item[1], item[0]))


class Lattice:
    """All ways to cut each of several strings into pieces, as one graph.

    Nodes are the places between characters, edges the pieces between them. Edges are grouped by
    how far into its string they start; those of one group end at different nodes, so that a group
    can be worked on at once.

    Args:
        strings: what to cut.
        numbers: pieces with their numbers, 0 and up.
        proper: leave out the cut that leaves a string whole.
    """

    def __init__(
        self, strings: Iterable[str], numbers: Mapping[str, int], *, proper: bool = False
    ) -> None:
        strings = list(strings)
        edges = _edges(strings, numbers, proper)
        self.owner, self.depth, length, self.piece = edges[:, np.argsort(edges[1], kind="stable")]
        lengths = np.array([len(string) for string in strings], dtype=np.int64)
        self.last = np.cumsum(lengths + 1) - 1
        self.first = self.last - lengths
        self.start = self.first[self.owner] + self.depth
        self.end = self.start + length
        self.size = len(numbers)

    def keep(self, alive: Flags) -> None:
        """Drop the edges of all other pieces."""
        kept = alive[self.piece]
        for name in ("owner", "depth", "piece", "start", "end"):
            setattr(self, name, getattr(self, name)[kept])

    def expected_counts(self, scores: Floats, counts: Floats) -> Floats:
        """How often each piece occurs, averaged over all cuts, by the forward-backward algorithm.

        Args:
            scores: (pieces,) log-probabilities.
            counts: (strings,) how often each string occurs.
        """
        weight = scores[self.piece]
        forward = np.full(self.last[-1] + 1, -np.inf)
        backward = forward.copy()
        forward[self.first] = backward[self.last] = 0
        groups = self._groups()
        for group in groups:
            end = self.end[group]
            forward[end] = np.logaddexp(forward[end], forward[self.start[group]] + weight[group])
        for group in reversed(groups):
            onwards = weight[group] + backward[self.end[group]]
            heads = np.flatnonzero(np.diff(self.start[group], prepend=-1))
            backward[self.start[group][heads]] = np.logaddexp.reduceat(onwards, heads)
        through = forward[self.start] + weight + backward[self.end]
        shares = np.exp(through - forward[self.last][self.owner]) * counts[self.owner]
        return _sums(self.piece, shares, self.size)

    def best_cuts(self, scores: Floats) -> tuple[Integers, Integers]:
        """The pieces of each string's likeliest cut (Viterbi), strings without one left out.

        Returns:
            (n,) numbers of strings and (n,) numbers of pieces.
        """
        weight = scores[self.piece]
        best = np.full(self.last[-1] + 1, -np.inf)
        best[self.first] = 0
        via = np.full(len(best), -1)
        for group in self._groups():
            end, reached = self.end[group], best[self.start[group]] + weight[group]
            better = reached > best[end]
            best[end[better]] = reached[better]
            via[end[better]] = np.arange(group.start, group.stop)[better]
        owners = np.flatnonzero(via[self.last] >= 0)
        edges = via[self.last[owners]]
        found = [(owners, self.piece[edges])]
        while len(owners):
            going_on = self.start[edges] != self.first[owners]
            owners = owners[going_on]
            edges = via[self.start[edges[going_on]]]
            found.append((owners, self.piece[edges]))
        return np.concatenate([pair[0] for pair in found]), np.concatenate(
            [pair[1] for pair in found]
        )

    def _groups(self) -> list[slice]:
        limits = [0, *(np.flatnonzero(np.diff(self.depth)) + 1).tolist(), len(self.depth)]
        return [slice(a, b) for a, b in pairwise(limits) if a < b]


def _edges(strings: Sequence[str], numbers: Mapping[str, int], proper: bool) -> Integers:
    """(4, edges): string, characters before the edge, characters along it, piece."""
    found = array("q")
    for owner, string in enumerate(strings):
        length = len(string)
        for start in range(length):
            for stop in range(start + 1, min(start + LONGEST_PIECE, length) + 1):
                number = numbers.get(string[start:stop])
                if number is not None and not (proper and stop - start == length):
                    found.extend((owner, start, stop - start, number))
    return np.array(found, dtype=np.int64).reshape(-1, 4).T


def _candidates(words: Mapping[str, int], limit: int) -> tuple[list[str], Floats]:
    """All characters, and the substrings that make up the most text; with their occurrences."""
    occurrences: Counter[str] = Counter()
    for word, count in words.items():
        for start in range(len(word)):
            for stop in range(start + 1, min(start + LONGEST_PIECE, len(word)) + 1):
                occurrences[word[start:stop]] += count
    ranked = sorted(
        (piece for piece, count in occurrences.items() if len(piece) == 1 or count > 1),
        key=lambda piece: (len(piece) > 1, -occurrences[piece] * len(piece), piece),
    )
    pieces = ranked[:limit]
    return pieces, np.array([occurrences[piece] for piece in pieces], dtype=np.float64)


def _losses(texts: Lattice, recuts: Lattice, scores: Floats, counts: Floats) -> Floats:
    """How much log-likelihood the likeliest cuts lose when a piece is replaced by others.

    Infinite for a piece that cannot be replaced, -inf for one that no cut uses.
    """
    owners, used = texts.best_cuts(scores)
    count = _sums(used, counts[owners], texts.size)
    owners, parts = recuts.best_cuts(scores)
    needed = count[owners] > 0
    owners, parts = owners[needed], parts[needed]
    # Each part occurs once more for every time that the piece did, and so grows the total.
    part_count = np.bincount(owners, minlength=texts.size)
    total = count.sum() + count * (part_count - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        recut = _sums(owners, np.log(count[parts] + count[owners]), texts.size)
        loss = count * (np.log(count / count.sum()) - (recut - part_count * np.log(total)))
    return np.where(count > 0, np.where(part_count > 0, loss, np.inf), -np.inf)


def _sums(places: Integers, values: Floats, size: int) -> Floats:
    return np.bincount(places, values, minlength=size).astype(np.float64)


def _highest(values: Floats, number: int) -> Flags:
    """Marks the highest values, the first ones among equals; never -inf."""
    marked = np.zeros(len(values), dtype=bool)
    marked[np.argsort(-values, kind="stable")[:number]] = True
    return marked & (values > -np.inf)
