"""The options of studies, and how their runs are run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from peluche.errors import ConfigError

Json = Annotated[bool, Option("--json", help="Print the numbers as one JSON object.")]
RunChanges = Annotated[
    list[str] | None, Argument(help="Changes of every run's recipe, such as training.steps=100.")
]
Ray = Annotated[
    bool, Option("--ray", help="Spread runs over processors, or the cluster of RAY_ADDRESS.")
]
Output = Annotated[Path | None, Option("--output", "-o", help="Folder; studies/NAME if not given.")]
Folder = Annotated[Path, Option("--output", "-o", help="Folder of the study.")]
Seeds = Annotated[int | None, Option(min=1, help="Runs of each variant.")]


def check_folder(path: Path) -> None:
    """Before it is made.

    Raises:
        ConfigError: a study cannot be written there.
    """
    path = path.absolute()
    try:
        there = next(one for one in (path, *path.parents) if one.exists())
        possible = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    except OSError:  # a name that is too long, a folder that is not to be looked into
        there, possible = path, False
    if not possible:
        raise ConfigError(
            "the folder of the study cannot be made or written to",
            where=there,
            remedy="name another one (--output)",
        )


@contextmanager
def runner(ray: bool = False) -> Iterator[Any]:
    """What runs trials; stopped by a signal it says how to go on, and leaves with its code."""
    from peluche.cli.terminal import say
    from peluche.studies.spread import by_ray
    from peluche.studies.trial import Stopped, one_by_one

    try:
        yield by_ray if ray else one_by_one
    except Stopped as stop:
        say("stopped; finished runs are kept. The same command goes on from here.")
        raise typer.Exit(stop.code) from None
