"""config.yaml, by which a folder is known for a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from peluche.config import parse_yaml
from peluche.errors import CheckpointError, nearest

FORMAT_VERSION = 1
CONFIG = "config.yaml"


def is_run(path: Path) -> bool:
    """Whether a folder holds a run."""
    return (path / CONFIG).is_file()


def find_runs(folder: Path) -> list[Path]:
    """Run directories directly inside a folder, by name."""
    try:
        return sorted(path for path in folder.iterdir() if is_run(path))
    except OSError:
        return []


def no_run(path: Path) -> CheckpointError:
    """What is wrong with a path that is no run's, and which runs are near."""
    if not path.exists():
        what, runs = "there is no such run", find_runs(path.parent)
    elif path.is_dir():
        what, runs = f"this folder is not a run (it has no {CONFIG})", find_runs(path)
    else:
        what, runs = "this is a file, not a run directory", [path.parent] * is_run(path.parent)
    names = {run.name: run for run in runs}
    close = nearest(path.name, names)
    remedy = f"did you mean {names[close]}? " if close else ""
    if runs:
        remedy += f"(runs here: {', '.join(str(run) for run in runs)})"
    return CheckpointError(what, where=path, remedy=remedy or "give the folder of a trained run")


def parse_config(text: str, file: Path) -> dict[str, Any]:
    """The config in a file's text, without the format version.

    Raises:
        CheckpointError: it is none, or of another format version.
    """
    try:
        config = parse_yaml(text)
    except yaml.YAMLError as error:
        raise unreadable_config(file, str(error)) from None
    if not isinstance(config, dict) or not isinstance(config.get("format_version"), int):
        raise unreadable_config(file, "it has no format_version")
    version = config.pop("format_version")
    if version != FORMAT_VERSION:
        age = "newer" if version > FORMAT_VERSION else "older"
        raise CheckpointError(
            f"this run has format version {version}; this peluche reads {FORMAT_VERSION}",
            where=file,
            remedy=f"use the {age} peluche that made the run, or train it again",
        )
    return config


def unreadable_config(file: Path, reason: str) -> CheckpointError:
    """The error of a config that cannot be read."""
    return CheckpointError(
        f"{CONFIG} cannot be read ({reason})",
        where=file,
        remedy="copy it again from where the run was trained",
    )
