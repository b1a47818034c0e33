"""Talking to people: on stderr, so that stdout stays free for results."""

from __future__ import annotations

import sys
from typing import IO

# What models and files say may not steer the terminal.
STEERING = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)], "\ufffd")


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether a person is at the other end; streams that were closed at the start are None."""
    return stream is not None and stream.isatty()


def say(message: str) -> None:
    """One message for people."""
    if is_terminal(sys.stderr):
        message = message.translate(STEERING)
    print(message, file=sys.stderr, flush=True)


def counted(number: int, what: str) -> str:
    """`1 example`, `1,000 examples`."""
    return f"{number:,} {what}{'s' * (number != 1)}"
