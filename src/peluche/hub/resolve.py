"""The one resolver: what a person may give wherever a model is asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from peluche.errors import CheckpointError, ConfigError, nearest
from peluche.hub.hub_models import PREFIX, pull_from_hub
from peluche.hub.model_catalogue import pretrained_models, pull
from peluche.hub.pretrained import ModelSource, is_folder, is_gguf, open_folder, open_gguf
from peluche.hub.run import RunDirectory
from peluche.hub.run_config import find_runs, is_run

RUNS = Path("runs")


class Opener(NamedTuple):
    """One kind of model argument: what it is called, and how it is opened.

    `open` returns None when the argument is not of this kind, so that the next opener is tried.
    """

    takes: str
    open: Callable[[str], ModelSource | None]


def _open_run(model: str) -> RunDirectory | None:
    path = _candidate(model)
    return RunDirectory.open(path) if path else None


def _open_gguf(model: str) -> ModelSource | None:
    path = Path(model).expanduser()
    return open_gguf(path) if is_gguf(path) else None


def _open_folder(model: str) -> ModelSource | None:
    path = Path(model).expanduser()
    return open_folder(path) if is_folder(path) else None


def _open_known(model: str) -> ModelSource | None:
    if model not in pretrained_models():
        return None
    path = str(pull(model, _say))
    return _open_gguf(path) or _open_folder(path)


def _open_hub(model: str) -> ModelSource | None:
    if not model.startswith(PREFIX):
        return None
    path = str(pull_from_hub(model, _say))
    return _open_gguf(path) or _open_folder(path)


def _say(message: str) -> None:
    print(f"peluche: {message}", file=sys.stderr)


OPENERS = [
    Opener("a run directory, or the name of one in ./runs", _open_run),
    Opener("a GGUF file", _open_gguf),
    Opener("a Hugging Face folder", _open_folder),
    Opener("a name out of `peluche models list`", _open_known),
    Opener("a model of the Hugging Face hub as hf:OWNER/NAME", _open_hub),
]


def open_source(model: str | Path) -> ModelSource:
    """Open the model that an argument names.

    Args:
        model: a run directory or the name of one in ./runs, a GGUF file, a Hugging Face folder, a
            name of the catalogue of models, or ``hf:OWNER/NAME``; the last two are fetched if
            they are not here.

    Raises:
        CheckpointError: when it is none of these, or is one that cannot be opened.
        DownloadError: when it cannot be fetched.
    """
    for opener in OPENERS:
        found = opener.open(str(model))
        if found is not None:
            return found
    raise _not_found(str(model), OPENERS)


def resolve(model: str | Path) -> RunDirectory:
    """Open the run that an argument names, for what only runs have: logs, reports, exports.

    Raises:
        CheckpointError: when it is none, or one that cannot be opened.
    """
    found = _open_run(str(model))
    if found is None:
        raise _not_found(str(model), OPENERS[:1])
    return found


def known_model(name: str) -> str:
    """A name of the catalogue of models.

    Raises:
        ConfigError: there is none of this name; the nearest is suggested.
    """
    known = pretrained_models()
    if name not in known:
        close = nearest(name, known)
        raise ConfigError(
            f"there is no pretrained model '{name}'",
            remedy=(f"did you mean {close}? " if close else "")
            + f"peluche models list shows all: {', '.join(known)}",
        )
    return name


def _candidate(model: str) -> Path | None:
    path = Path(model).expanduser()
    candidates = [path, RUNS / path] if len(path.parts) == 1 else [path]
    return next((candidate for candidate in candidates if is_run(candidate)), None)


def _not_found(model: str, openers: list[Opener]) -> CheckpointError:
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
    names = {name: str(run) for name, run in runs.items()}
    if len(openers) > 1:
        names |= {name: name for name in pretrained_models()}
    close = nearest(path.name, names)
    remedies = [f"give {', or '.join(opener.takes for opener in openers)}"]
    if len(openers) > 1 and model.count("/") == 1 and not path.parent.exists():
        remedies.insert(0, f"if it is one of the Hugging Face hub, write hf:{model}")
    if runs:
        listing = ", ".join(str(run) for run in runs.values())
        remedies.append(f"found nearby: {listing}")
    if close:
        remedies.insert(0, f"did you mean {names[close]}?")
    return CheckpointError(what, where=path.absolute(), remedy="; ".join(remedies))
