"""What to say when something cannot be saved."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from peluche.errors import CheckpointError
from peluche.files import readable_size

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def explain_failure(
    what: str, folder: Path, needed: int | None, reassurance: Callable[[], str]
) -> Iterator[None]:
    """Turn an `OSError` into a `CheckpointError` that says how much room is needed and free.

    Args:
        what: what is being saved.
        folder: where it goes.
        needed: its size in bytes, where that is known.
        reassurance: says what is intact; called after the failure.
    """
    try:
        yield
    except OSError as error:
        present = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
        room = f"{readable_size(shutil.disk_usage(present).free)} are free on that disk"
        if needed is not None:
            room = f"it needs {readable_size(needed)}, {room}"
        full = error.errno in _FULL
        raise CheckpointError(
            f"cannot save {what}: {error.strerror or error} ({room}); {reassurance()}",
            where=folder,
            remedy="make room on the disk, then try again"
            if full
            else "make the folder writable, then try again",
        ) from error
