"""The runs that studies are made of: unfinished ones are run, finished ones are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from peluche import files
from peluche.errors import ConfigError, NumericsError
from peluche.hub.run import RunDirectory
from peluche.recipes.base import Recipe, Say
from peluche.recipes.recipe import changed
from peluche.reporting.run_summary import RunSummary, summarise
from peluche.studies.trial import Job, Runner, check_settings, result


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What every finished run has logged.

    Attributes:
        peak_bytes: of the whole process that trained and scored it.
    """

    path: Path
    parameters: int
    train_seconds: float
    tokens_per_second: float
    peak_bytes: int
    machine: str


def with_own(changes: Sequence[str], own: Mapping[str, object]) -> list[str]:
    """Changes of a recipe, and those that a study makes itself, by key.

    Raises:
        ConfigError: a change is of what the study sets.
    """
    for change in changes:
        asked = changed({}, [change])
        for key in own:
            place: object = asked
            for part in key.split("."):
                place = place.get(part) if isinstance(place, dict) else None
            if place is not None:
                raise ConfigError(
                    f"the study itself sets {key}",
                    where=f"the change '{change}'",
                    remedy="leave it out: seeds, names, and rates where there are some, say what "
                    "is run",
                )
    return [*changes, *(f"{key}={value}" for key, value in own.items())]


def run_all(folder: Path, recipes: Sequence[Recipe], say: Say, run: Runner) -> list[Path]:
    """Run the recipes that have not been run to their end yet; returns all run directories.

    Args:
        folder: gets `recipes/NAME.yaml` and `runs/NAME` of each.

    Raises:
        ConfigError: the folder holds a run of that name with other settings; nothing is run then.
        Stopped, CheckpointError: see `one_by_one`.
    """
    paths = [folder / "runs" / recipe.name for recipe in recipes]
    for recipe, path in zip(recipes, paths, strict=True):
        check_settings(path, recipe)
    jobs = []
    for recipe, path in zip(recipes, paths, strict=True):
        if result(path) is None:
            file = folder / "recipes" / f"{recipe.name}.yaml"
            values = recipe.model_dump(mode="json")
            files.write_text(file, yaml.safe_dump(values, allow_unicode=True))
            jobs.append(Job(file, path, recipe.training.threads))
    run(jobs, say)
    return paths


def read_finished(path: Path) -> tuple[Finished, RunSummary]:
    """What a finished run logged: what all have, and the rest.

    Raises:
        ConfigError: it is not finished.
        NumericsError: it diverged.
    """
    done = result(path)
    if done is None:
        raise ConfigError("this trial is not finished", where=path, remedy="run the study again")
    if "diverged" in done:
        raise NumericsError(
            f"this trial diverged: {done['diverged']}",
            where=path,
            remedy="lower optimizer.lr or lengthen schedule.warmup, in another folder (--output)",
        )
    summary = summarise(RunDirectory.open(path))
    assert summary.test is not None, "finished trials are scored"
    assert summary.parameters is not None, "runs log the size of their model"
    finished = Finished(
        path=path,
        parameters=summary.parameters,
        train_seconds=summary.seconds,
        tokens_per_second=summary.tokens / summary.seconds,
        peak_bytes=done["peak_bytes"],
        machine="; ".join(summary.machines),
    )
    return finished, summary
