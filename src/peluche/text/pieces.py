"""The tokens of a text with their places in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from peluche.text.pipelines import MARK


class Piece(NamedTuple):
    """One token of a text.

    Args:
        text: the token as a person reads it, ▁ being a space; an unknown one as in the input.
        id: its number.
        start: where it begins in the input, in characters.
        end: where it ends, not included. Bytes of one character all have that character's place.
        unknown: whether it is [UNK].
    """

    text: str
    id: int
    start: int
    end: int
    unknown: bool


def places_in(
    text: str, tokens: Sequence[str], offsets: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Offsets without the gaps and the overlap that normalization leaves.

    Composing "e" with "´" gives one character that is placed at the "e" alone; of a run of
    whitespace only the last is placed; a ▁ put before the text is placed at its first character.
    """
    reach: dict[int, int] = {}
    starts = [start for start, _ in offsets]
    for (_, end), following in zip(offsets, [*starts, len(text)][1:], strict=True):
        further = end
        while further < following and not text[further].isspace():
            further += 1
        reach[end] = max(further, reach.get(end, end))
    places: list[tuple[int, int]] = []
    for start, end in offsets:
        previous = places[-1][1] if places else start
        places.append((min(start, previous), reach[end]))
    if places and tokens[0] == MARK:
        start, end = places[0]
        if not (text[start].isspace() or text[start] == MARK):
            places[0] = (start, start)
    return places
