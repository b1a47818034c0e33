"""The one resolver: what a person may give wherever a model is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from peluche.errors import CheckpointError, nearest
from peluche.hub.run import RunDirectory, find_runs, is_run

RUNS = Path("runs")


class Opener(NamedTuple):
    """One kind of model argument: what it is called, and how it is opened.

    `open` returns None when the argument is not of this kind, so that the next opener is tried.
    """

    takes: str
    open: Callable[[str], RunDirectory | None]


def _open_run(model: str) -> RunDirectory | None:
    path = _candidate(model)
    return RunDirectory.open(path) if path else None


OPENERS = [Opener("a run directory, or the name of one in ./runs", _open_run)]


def resolve(model: str | Path) -> RunDirectory:
    """Open the model that an argument names.

    Args:
        model: a run directory, or the name of one in ./runs.

    Raises:
        CheckpointError: when it is none of these, or is one that cannot be opened.
    """
    for opener in OPENERS:
        found = opener.open(str(model))
        if found is not None:
            return found
    raise _not_found(str(model))


def _candidate(model: str) -> Path | None:
    path = Path(model).expanduser()
    candidates = [path, RUNS / path] if len(path.parts) == 1 else [path]
    return next((candidate for candidate in candidates if is_run(candidate)), None)


def _not_found(model: str) -> CheckpointError:
    path = Path(model).expanduser()
    if path.is_dir():
        what = f"the folder '{model}' does not hold a model"
    elif path.exists():
        what = f"'{model}' is a file, not a model"
    else:
        what = f"there is no model '{model}'"
    folders = dict.fromkeys([path, path.parent, RUNS])
    runs = {run.name: run for folder in folders for run in find_runs(folder)}
    if is_run(path.parent):
        runs[path.name] = path.parent
    close = nearest(path.name, runs)
    remedies = [f"give {' or '.join(opener.takes for opener in OPENERS)}"]
    if runs:
        listing = ", ".join(str(run) for run in runs.values())
        remedies.append(f"found nearby: {listing}")
    if close:
        remedies.insert(0, f"did you mean {runs[close]}?")
    return CheckpointError(what, where=path.absolute(), remedy="; ".join(remedies))
