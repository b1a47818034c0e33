"""Talking to people: on stderr, so that stdout stays free for results."""

from __future__ import annotations

import sys


def say(message: str) -> None:
    """One message for people."""
    print(message, file=sys.stderr, flush=True)
