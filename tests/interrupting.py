"""Ctrl-C at a line that a test chooses."""

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import peluche


def interrupted(line: int, work: Callable[[], object], *rooms: str) -> bool:
    """Do some work, with Ctrl-C before the so-many-th line that it comes to in some rooms.

    Raises:
        KeyboardInterrupt: by the signal's handler, if that does so.

    Returns:
        Whether the work has so many lines.
    """
    left, places = line, tuple(f"{peluche.__path__[0]}/{room}" for room in rooms)

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(places):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return left <= 0
