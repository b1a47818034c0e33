"""Which words of a sentence another sentence has too, in the same order."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from itertools import groupby
from typing import NamedTuple

MOST_CHARACTERS = 600
_WORD_OR_SPACE = re.compile(r"\w+['’]?|[^\w\s]|\s+")


class Segment(NamedTuple):
    """A piece of a text, and whether the other text has its words too."""

    text: str
    same: bool


def mark(text: str, other: str) -> list[Segment]:
    """The text in segments that `other` shares or does not; a long text is cut short.

    Space belongs to the words that differ only where both its neighbours do.
    """
    pieces = _WORD_OR_SPACE.findall(clip(text))
    spaces = [piece.isspace() for piece in pieces]
    places = [place for place, space in enumerate(spaces) if not space]
    others = [piece for piece in _WORD_OR_SPACE.findall(clip(other)) if not piece.isspace()]
    matcher = SequenceMatcher(None, [pieces[place] for place in places], others, autojunk=False)
    shared = {
        places[block.a + offset]
        for block in matcher.get_matching_blocks()
        for offset in range(block.size)
    }
    different = set(places) - shared
    different |= {
        place
        for place, space in enumerate(spaces)
        if space and place - 1 in different and place + 1 in different
    }
    groups = groupby(range(len(pieces)), key=different.__contains__)
    return [
        Segment("".join(pieces[place] for place in group), not differs) for differs, group in groups
    ]


def clip(text: str) -> str:
    """The beginning of a text, with an ellipsis if that is not all."""
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "…"
