"""The event log of a run: one JSON object a line, appended while it trains."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from peluche.errors import CheckpointError


class EventLog:
    """Appends events to a JSON-lines file and reads them back.

    A process that is killed while it writes leaves a torn last line; readers pass over it and the
    next append removes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, event: Mapping[str, Any]) -> None:
        """Add one event, with "time" in seconds since the epoch.

        Raises:
            CheckpointError: when the line cannot be written, e.g. because the disk is full.
        """
        line = json.dumps({**event, "time": time.time()}, ensure_ascii=False) + "\n"
        try:
            with self.path.open("a+b", buffering=0) as stream:
                self._mend(stream.fileno())
                stream.write(line.encode())
        except OSError as error:
            raise CheckpointError(
                f"cannot write to the log: {error.strerror}",
                where=self.path,
                remedy="make room on the disk, or make the file writable; then resume the run",
            ) from error

    def read(self) -> Iterator[dict[str, Any]]:
        """Every event in order, without those that a resume made void.

        An event {"event": "resume", "step": N} voids earlier events whose "step" is over N.

        Raises:
            CheckpointError: when a line other than a torn last one is not a JSON object.
        """
        events: list[dict[str, Any]] = []
        for event in self._lines():
            if event.get("event") == "resume" and "step" in event:
                events = [old for old in events if old.get("step", 0) <= event["step"]]
            events.append(event)
        return iter(events)

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        with self.path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                try:
                    event = json.loads(line)
                    if not isinstance(event, dict):
                        raise ValueError("not an object")
                except ValueError:
                    if not line.endswith(b"\n"):
                        return
                    raise CheckpointError(
                        "a line of the log is not a JSON object",
                        where=f"{self.path}:{number}",
                        remedy="remove that line; the rest of the log is then read",
                    ) from None
                yield event

    def _mend(self, descriptor: int) -> None:
        """Cut a torn last line off, or finish it if only its line feed is missing."""
        end = os.fstat(descriptor).st_size
        if end == 0 or os.pread(descriptor, 1, end - 1) == b"\n":
            return
        content = self.path.read_bytes()
        start = content.rfind(b"\n") + 1
        try:
            json.loads(content[start:])
        except ValueError:
            os.ftruncate(descriptor, start)
        else:
            os.write(descriptor, b"\n")
