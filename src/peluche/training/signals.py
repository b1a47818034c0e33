"""SIGINT and SIGTERM end training after the current step instead of in the middle of it."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class StopSignals:
    """While active, the first signal is only noted; the second one acts as usual.

    Args:
        repeated: one Ctrl-C comes twice, from the terminal and from torchrun, so that the second
            one is only noted, too. torchrun kills processes that do not end.
    """

    def __init__(self, *, repeated: bool = False) -> None:
        self.repeated = repeated
        self.received: str | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number).name
        if not self.repeated:
            signal.signal(number, self._before[number])
