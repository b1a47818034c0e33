"""Ctrl-C between two pieces of work, not in the middle of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class _Note:
    """A handler that only notes the signal."""

    def __init__(self, before: Callable[[int, FrameType | None], Any]) -> None:
        self.before, self.received = before, False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.received = True

    def deliver(self) -> None:
        """Let the handler of before have what was noted; it has to be in its place."""
        if self.received:
            self.received = False
            signal.raise_signal(signal.SIGINT)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C takes effect at the end of the block, or in `interruptible` parts of it.

    In threads other than the main one, which it never interrupts, this does nothing.
    """
    before = _handler()
    if isinstance(before, _Note) or not callable(before):
        yield
        return
    note = _Note(before)
    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        note.deliver()


@contextmanager
def interruptible() -> Iterator[None]:
    """Within `uninterrupted`, a part that Ctrl-C may end: at once if it has come already."""
    note = _handler()
    if not isinstance(note, _Note):
        yield
        return
    try:
        signal.signal(signal.SIGINT, note.before)
        note.deliver()
        yield
    finally:
        signal.signal(signal.SIGINT, note)


def _handler() -> Any:
    """What Ctrl-C calls; None if it cannot be changed here."""
    if threading.current_thread() is not threading.main_thread():
        return None
    return signal.getsignal(signal.SIGINT)
