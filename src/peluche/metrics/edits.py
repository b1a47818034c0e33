"""Edit distance and longest common subsequence of token sequences, a row of the table at a time.

Bit j of a Python integer holds what is known of cell j of the current row, so that a row costs a
handful of integer operations whatever its length.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def edit_distance(source: Sequence[Hashable], target: Sequence[Hashable]) -> int:
    """The fewest insertions, deletions and substitutions that turn `source` into `target`.

    Myers, 1999, "A Fast Bit-Vector Algorithm for Approximate String Matching", in the form of
    Hyyrö, 2003, "A Bit-Vector Algorithm for Computing Levenshtein and Damerau Edit Distances",
    figure 3.
    """
    if not target:
        return len(source)
    positions = _positions(target)
    full = (1 << len(target)) - 1
    last = 1 << (len(target) - 1)
    distance = len(target)
    # Where the table grows (plus) or shrinks (minus) by one from cell j - 1 to cell j.
    plus, minus = full, 0
    for token in source:
        equal = positions.get(token, 0)
        diagonal = (((equal & plus) + plus) ^ plus) | equal | minus
        grows = minus | (full & ~(diagonal | plus))
        shrinks = plus & diagonal
        distance += bool(grows & last) - bool(shrinks & last)
        grows = grows << 1 | 1
        plus = full & (shrinks << 1 | ~(diagonal | grows))
        minus = full & grows & diagonal
    return distance


def common_subsequence(source: Sequence[Hashable], target: Sequence[Hashable]) -> int:
    """The length of the longest common subsequence.

    Hyyrö, 2004, "Bit-Parallel LCS-length Computation Revisited".
    """
    positions = _positions(target)
    full = (1 << len(target)) - 1
    # A cleared bit is a cell at which the row of the table grows by one.
    level = full
    for token in source:
        matches = level & positions.get(token, 0)
        level = ((level + matches) | (level - matches)) & full
    return len(target) - level.bit_count()


def _positions(tokens: Sequence[Hashable]) -> dict[Hashable, int]:
    """For each token the set of its positions, as bits."""
    found: dict[Hashable, int] = {}
    for position, token in enumerate(tokens):
        found[token] = found.get(token, 0) | 1 << position
    return found
