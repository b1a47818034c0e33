"""A lock on a folder that goes when its process goes, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from peluche.errors import CheckpointError
from peluche.hub.failure import explain_failure

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process, by `flock` on a file `.lock` in it.

    Raises:
        CheckpointError: when another process holds it, or the lock file cannot be written.
    """
    file = folder / LOCK
    with explain_failure("the lock file", folder, None, lambda: "nothing was changed"):
        stream = file.open("a+", encoding="utf-8")
    with stream:
        _take(stream, folder)
        with explain_failure("the lock file", folder, None, lambda: "nothing was changed"):
            stream.truncate(0)
            stream.write(str(os.getpid()))
            stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)


def _take(stream: TextIO, folder: Path) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.seek(0)
        holder = stream.read().strip() or "unknown"
        raise CheckpointError(
            f"another process (pid {holder}) is training in this run",
            where=folder,
            remedy="wait until it ends, stop it, or give this run another name",
        ) from None
