"""`peluche train`: from a recipe to a run directory."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from peluche.hub.run import RunDirectory


def train(
    recipe: Annotated[
        str | None, typer.Argument(help="A shipped recipe's name, or a .yaml file.")
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Argument(help="Changes of the recipe, such as model.layers=6.")
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", "-o", help="Run directory; without it runs/NAME."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Go on with this run directory instead.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option("--budget", help="Size the recipe for 10min, 2h or 1e15flop (recipe gpt)."),
    ] = None,
    depth: Annotated[
        int | None, typer.Option("--depth", min=1, help="Size it for so many layers instead.")
    ] = None,
    no_test: Annotated[
        bool, typer.Option("--no-test", help="Do not score the test set at the end.")
    ] = False,
) -> None:
    """Train a model by a recipe. Without a recipe, list those that are shipped."""
    started = time.monotonic()
    from peluche.cli.tables import print_table
    from peluche.cli.terminal import say
    from peluche.errors import ConfigError
    from peluche.recipes.recipe import load_recipe
    from peluche.recipes.shipped import shipped

    if recipe is None and resume is None:
        for name in shipped():
            print(f"{name:20} {load_recipe(name).description}")
        return
    if recipe is not None and resume is not None:
        if "=" not in recipe:
            raise ConfigError(
                "--resume takes no recipe: a run remembers its own", remedy="leave the recipe out"
            )
        changes = [recipe, *(changes or [])]
    if resume is not None and (budget or depth):
        raise ConfigError("--resume goes on as planned", remedy="leave --budget and --depth out")

    from peluche.recipes.train import evaluate_run, resume_run, train_recipe
    from peluche.reporting.examples import save_examples
    from peluche.tasks.load import load_task
    from peluche.training.progress import Progress

    if resume is not None:
        finished, reason = resume_run(resume, changes=changes or [], hooks=[Progress()], say=say)
    else:
        assert recipe is not None
        settings = load_recipe(recipe, changes or [], "on the command line")
        if budget is not None or depth is not None:
            from peluche.recipes.dial import turn

            settings = turn(settings, budget, depth, changes or [], started, not no_test, say)
        path = run or Path("runs") / settings.name
        finished, reason = train_recipe(settings, path, hooks=[Progress()], say=say)
    exit_if_stopped(finished, reason)
    if finished.follows:
        return
    say(f"{reason}: {finished.path}")
    if not no_test:
        scores, examples = evaluate_run(finished, load_task(str(finished.path)), say)
        save_examples(finished, examples)
        print_table([item.as_json() for item in scores])


def exit_if_stopped(run: RunDirectory, reason: str) -> None:
    """After a signal, say how to go on and exit as a process that the signal ended."""
    from peluche.cli.terminal import say

    if reason.startswith("stopped by"):
        if not run.follows:
            say(f"{reason}; the state is saved. Go on with:\n  peluche train --resume {run.path}")
        raise typer.Exit(130 if "SIGINT" in reason else 143)


def register(app: typer.Typer) -> None:
    app.command("train")(train)
