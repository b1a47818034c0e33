"""One run of a study, in a process of its own: `python -m peluche.studies.trial RECIPE RUN`.

Alone in its process, a run's peak memory is its own. A run that was killed goes on from its last
state, and a finished one is left as it is.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peluche.errors import CheckpointError, ConfigError, NumericsError, PelucheError
from peluche.hub.run import RunDirectory
from peluche.hub.run_config import is_run
from peluche.nn.machine import peak_memory
from peluche.recipes.base import Recipe, Say
from peluche.recipes.recipe import load_recipe
from peluche.recipes.train import evaluate_run, resume_run, train_recipe
from peluche.reporting.examples import save_examples
from peluche.tasks.load import load_task
from peluche.training.progress import Progress

DONE = "trial"
INTERRUPTED, TERMINATED = 130, 143


def result(path: Path) -> Mapping[str, Any] | None:
    """What a finished trial logged last; None if it is not finished."""
    if not is_run(path):
        return None
    found = [event for event in RunDirectory.open(path).events() if event.get("event") == DONE]
    return found[-1] if found else None


def check_settings(path: Path, recipe: Recipe) -> None:
    """Whether the run at `path`, if there is one, is of this recipe.

    Raises:
        ConfigError: it is of another.
    """
    if is_run(path) and RunDirectory.open(path).config != recipe.model_dump(mode="json"):
        raise ConfigError(
            "this study was begun with other settings",
            where=path,
            remedy="go on with the settings it was begun with, or name another folder (--output)",
        )


def run_trial(recipe: Recipe, path: Path, say: Say) -> str | None:
    """Train, score and measure; returns why it stopped early, None if it did not.

    A run that diverges has come to its end too, and its log says so.

    Raises:
        ConfigError: `path` holds a run of another recipe.
    """
    check_settings(path, recipe)
    if result(path) is not None:
        return None
    try:
        if is_run(path) and not RunDirectory.open(path).untrained:
            run, reason = resume_run(path, hooks=[Progress()], say=say)
        else:
            run, reason = train_recipe(recipe, path, hooks=[Progress()], say=say)
        if reason.startswith("stopped by"):
            return reason
        _, examples = evaluate_run(run, load_task(str(path)), say)
    except NumericsError as error:
        say(f"{path.name} diverged: {error.what}")
        RunDirectory.open(path).log({"event": DONE, "diverged": error.what})
        return None
    save_examples(run, examples)
    run.log({"event": DONE, "peak_bytes": peak_memory()})
    return None


class Stopped(Exception):
    """A trial was stopped by a signal, after saving its state; `code` is for the shell."""

    def __init__(self, code: int) -> None:
        self.code = code


@dataclass(frozen=True)
class Job:
    """A trial that is still to be run: a recipe's file and the run directory it is for.

    Attributes:
        threads: those that its recipe asks for, None if it takes all.
        log: where its output goes; None if that is where ours goes.
    """

    recipe: Path
    run: Path
    threads: int | None = None
    log: Path | None = None

    def command(self) -> list[str]:
        """What runs it in a process of its own."""
        return [sys.executable, "-m", "peluche.studies.trial", str(self.recipe), str(self.run)]


Runner = Callable[[Sequence[Job], Say], None]


def check_ended(job: Job, code: int) -> None:
    """Whether a trial's process ended well.

    Raises:
        Stopped: by Ctrl-C or SIGTERM.
        CheckpointError: it failed or was killed.
    """
    if code in (INTERRUPTED, TERMINATED):
        raise Stopped(code)
    if code:
        raise CheckpointError(
            f"a run of the study ended with exit code {code}",
            where=job.run,
            remedy=f"see what it said {'above' if job.log is None else f'in {job.log}'}; "
            "the same command goes on from where it stopped",
        )


def one_by_one(jobs: Sequence[Job], say: Say) -> None:
    """Run trials one after another, each in a process of its own.

    Raises:
        Stopped: by Ctrl-C or SIGTERM.
        CheckpointError: a trial failed or was killed.
    """
    for number, job in enumerate(jobs, start=1):
        say(f"run {number} of {len(jobs)}: {job.run.name}")
        spawn(job)


def spawn(job: Job) -> None:
    """`run_trial` in a process of its own; raises what `check_ended` does."""
    process = subprocess.Popen(job.command())
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.wait()  # it has had the signal too, and is saving
        raise Stopped(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)
    check_ended(job, code)


def main(recipe_file: str, path: str) -> int:
    """Exit code of the process."""

    def say(message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    try:
        reason = run_trial(load_recipe(recipe_file), Path(path), say)
    except PelucheError as error:
        say(f"peluche: {error}")
        return error.exit_code
    if reason is None:
        return 0
    say(reason)
    return INTERRUPTED if "SIGINT" in reason else TERMINATED


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
