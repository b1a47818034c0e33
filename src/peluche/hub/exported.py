"""The folder that an export makes: all of it or nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peluche.errors import ConfigError
from peluche.files import write_text
from peluche.hub.failure import explain_failure


@contextmanager
def new_folder(path: Path, needed: int) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its place on success.

    Args:
        path: a folder that does not exist yet, or is empty.
        needed: about how many bytes will be written, for the message when the disk is full.

    Raises:
        ConfigError: when there is something at `path` already.
        CheckpointError: when the files cannot be written.
    """
    path = path.resolve()
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise ConfigError(
            "the output folder is not empty" if path.is_dir() else "the output is a file",
            where=path,
            remedy="give another --output, or delete it",
        )
    temporary = path.with_name(f".{path.name}.tmp")
    with explain_failure("the exported model", path, needed, lambda: "nothing was made"):
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir(parents=True)
            yield temporary
            if path.is_dir():
                path.rmdir()
            temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, values: Any) -> None:
    """A JSON file, for people to read as well."""
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
