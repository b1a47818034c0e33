"""What a step of cleaning is."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from peluche.data.text_parts import PlainText


class Dropped(NamedTuple):
    """A text is left out.

    Attributes:
        reason: one of few, under which it is counted.
        detail: what was found in this text.
    """

    reason: str
    detail: str


class Step(Protocol):
    """Looks at one text after the other, in order; may remember those that it has seen."""

    def __call__(self, text: PlainText) -> str | Dropped:
        """The text that is kept, whole or without some of its lines; or why it is left out."""
        ...
