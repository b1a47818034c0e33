"""`peluche quickstart`: train a translator from nothing and look at it, in minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SENTENCE = "A cute teddy bear is reading."


def quickstart(
    changes: Annotated[
        list[str] | None, typer.Argument(help="Changes of the recipe, such as training.seed=1.")
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", "-o", help="Run directory; runs/quickstart, or -2, -3, …"),
    ] = None,
) -> None:
    """Build a corpus, learn a vocabulary, train, evaluate, translate, and write a report."""
    import time

    from peluche.cli.tables import print_table
    from peluche.cli.terminal import say
    from peluche.cli.train import exit_if_stopped
    from peluche.recipes.base import phase
    from peluche.recipes.recipe import load_recipe
    from peluche.recipes.train import evaluate_run, train_recipe
    from peluche.reporting.explain import explain_run
    from peluche.reporting.report import save_examples, write_report
    from peluche.tasks.load import load_translator
    from peluche.training.progress import Progress

    started = time.perf_counter()
    recipe = load_recipe("quickstart", changes or [], "on the command line")
    path = run or _free(Path("runs") / recipe.name)
    say(f"training an English-French translator from nothing, in {path}")
    finished, reason = train_recipe(recipe, path, hooks=[Progress()], say=say)
    exit_if_stopped(finished, reason)
    translator = load_translator(str(path))
    with phase(finished, "translate and score held-out sentences", say):
        scores, examples = evaluate_run(finished, translator, say)
        save_examples(finished, examples)
    print_table([item.as_json() for item in scores])
    print(f"\n{SENTENCE}\n{translator.translate([SENTENCE])[0]}\n")
    with phase(finished, "write the report", say):
        explained = explain_run(finished, translator, SENTENCE)
        report = write_report(finished)
    print(f"report: {report}\ninside: {explained}")
    say(f"all of it took {time.perf_counter() - started:.0f} s; translate more with:")
    say(f'  peluche translate {path} "The girl sees a small cat."')


def _free(path: Path) -> Path:
    """`path`, or the first of path-2, path-3, … that does not exist."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def register(app: typer.Typer) -> None:
    app.command("quickstart")(quickstart)
