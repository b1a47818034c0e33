"""From scores to trees: the best dependency tree, the best constituents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


def spanning_tree(scores: Scores) -> list[int]:
    """The heads of the best tree with one root (Chu & Liu 1965, Edmonds 1967).

    Args:
        scores: (T, T + 1) of each word's heads, the root first; the sum over words is what counts.

    Returns:
        For each word the place of its head, 1 being the first word and 0 the root.
    """
    words = len(scores)
    arcs = np.full((words + 1, words + 1), -np.inf)
    arcs[1:] = scores
    np.fill_diagonal(arcs, -np.inf)
    arcs[0] = -np.inf
    heads = arcs.argmax(1)
    heads[0] = 0
    if (heads[1:] == 0).sum() == 1 and _cycle(heads) is None:
        return [int(head) for head in heads[1:]]
    # Dearer than all else together: the best tree then has as few roots as can be, which is one.
    finite = arcs[np.isfinite(arcs)]
    arcs[1:, 0] -= (words + 1) * (np.ptp(finite) + 1)
    return [int(head) for head in _edmonds(arcs)[1:]]


def _edmonds(arcs: Scores) -> NDArray[np.int64]:
    """Heads of the best arborescence of node 0; `arcs[d, h]` scores h as the head of d."""
    heads = arcs.argmax(1)
    heads[0] = 0
    cycle = _cycle(heads)
    if cycle is None:
        return heads
    # The cycle becomes one node, the last; the nodes outside it keep their order.
    inside = np.array(cycle)
    outside = np.setdiff1d(np.arange(len(arcs)), inside)
    new = len(outside)
    contracted = np.full((new + 1, new + 1), -np.inf)
    contracted[:new, :new] = arcs[np.ix_(outside, outside)]
    leaving = arcs[np.ix_(outside, inside)]
    contracted[:new, new] = leaving.max(1)
    # To enter the cycle at a node is to give up the arc that the node has in it.
    entering = arcs[np.ix_(inside, outside)] - arcs[inside, heads[inside]][:, None]
    contracted[new, :new] = entering.max(0)
    solved = _edmonds(contracted)
    for node, head in enumerate(solved[:new]):
        if node:
            whole = outside[node]
            heads[whole] = inside[leaving[node].argmax()] if head == new else outside[head]
    entry = inside[entering[:, solved[new]].argmax()]
    heads[entry] = outside[solved[new]]
    return heads


def _cycle(heads: NDArray[np.int64]) -> list[int] | None:
    """Nodes of a cycle that following heads leads into, if there is one; node 0 is no cycle."""
    seen = np.zeros(len(heads), dtype=np.int64)
    for start in range(1, len(heads)):
        node = start
        while node and not seen[node]:
            seen[node] = start
            node = int(heads[node])
        if node and seen[node] == start:
            cycle = [node]
            while (node := int(heads[node])) != cycle[0]:
                cycle.append(node)
            return cycle
    return None


def best_constituents(gains: NDArray[np.floating]) -> list[tuple[int, int, int]]:
    """The names of spans of the best binary tree, by CKY (Stern et al. 2017, §2.3).

    Args:
        gains: (T, T, names): what it is worth that the words from a first to a last (both included)
            have a name; name 0, worth 0, leaves them without one.

    Returns:
        (first, end, name) of every span with a name, end excluded. A sentence of several words has
        a name as a whole.
    """
    words = len(gains)
    names = gains.argmax(2)
    worth = gains.max(2).astype(np.float64)
    if words > 1:
        names[0, -1] = gains[0, -1, 1:].argmax() + 1
        worth[0, -1] = gains[0, -1, names[0, -1]]
    best = np.full((words, words), -np.inf)
    splits = np.zeros((words, words), dtype=np.int64)
    np.fill_diagonal(best, np.diagonal(worth))
    for length in range(2, words + 1):
        first = np.arange(words - length + 1)
        last = first + length - 1
        middles = first[:, None] + np.arange(length - 1)
        sums = best[first[:, None], middles] + best[middles + 1, last[:, None]]
        chosen = sums.argmax(1)
        splits[first, last] = first + chosen
        best[first, last] = worth[first, last] + sums[np.arange(len(first)), chosen]
    found: list[tuple[int, int, int]] = []
    waiting = [(0, words - 1)]
    while waiting:
        first_word, last_word = waiting.pop()
        if names[first_word, last_word]:
            found.append((first_word, last_word + 1, int(names[first_word, last_word])))
        if first_word < last_word:
            middle = int(splits[first_word, last_word])
            waiting += [(middle + 1, last_word), (first_word, middle)]
    return found
