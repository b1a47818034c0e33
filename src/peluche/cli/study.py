"""`peluche study`: experiments that compare ideas, each with a page, pictures and numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from peluche.cli.compare import COMPARISONS, Json, Ray, RunChanges, compare, comparison, runner

study_app = typer.Typer(
    no_args_is_help=True, help="Experiments that compare ideas, each with a page and numbers."
)


@study_app.command()
def memory(
    changes: Annotated[
        list[str] | None, Argument(help="Changes of the task, such as steps=100 or lengths=[5,20].")
    ] = None,
    output: Annotated[Path, Option("--output", "-o", help="Folder of the study.")] = Path(
        "studies/memory"
    ),
    as_json: Json = False,
) -> None:
    """What RNN, GRU, LSTM and attention remember: gradients by distance, recall by length."""
    from peluche.cli.terminal import say
    from peluche.recipes.recipe import changed
    from peluche.studies.memory import MemoryConfig, study_memory
    from peluche.studies.memory_page import write_memory

    config = MemoryConfig.parse(changed({}, changes or []), where="the changes")
    found = study_memory(config, say)
    page = write_memory(output, found)
    print(json.dumps(found) if as_json else page)


@study_app.command()
def history(
    changes: RunChanges = None,
    output: Annotated[Path, Option("--output", "-o", help="Folder of the study.")] = Path(
        "studies/history"
    ),
    seeds: Annotated[int, Option(min=1, help="Runs of each rung.")] = 3,
    rungs: Annotated[str | None, Option(help="Only these, such as lstm,transformer.")] = None,
    ray: Ray = False,
    as_json: Json = False,
) -> None:
    """LSTM, GRU, attention, Transformer on one corpus and budget. Goes on where it stopped."""
    from peluche.cli.terminal import say
    from peluche.studies.history import chosen, run_history
    from peluche.studies.history_page import write_history

    picked = chosen(rungs.split(",") if rungs else None)
    with runner(ray) as run:
        results = run_history(output, picked, changes or [], seeds, say, run)
    page = write_history(output, results, say)
    print((output / "study.json").read_text(encoding="utf-8") if as_json else page)


@study_app.command()
def scaling(
    recipe: Annotated[str, Argument(help="A recipe with a dial section.")] = "gpt",
    changes: Annotated[
        list[str] | None, Argument(help="Changes of every run's recipe, such as training.seed=1.")
    ] = None,
    output: Annotated[Path, Option("--output", "-o", help="Folder of the study.")] = Path(
        "studies/scaling"
    ),
    as_json: Json = False,
) -> None:
    """The law that the dial predicts losses by: small runs of several sizes, and a fit."""
    from peluche.cli.tables import print_columns
    from peluche.cli.terminal import say
    from peluche.studies.scaling import run_scaling
    from peluche.studies.trial import Stopped

    try:
        found = run_scaling(output, recipe, changes or [], say)
    except Stopped as stop:
        say("stopped; finished runs are kept. The same command goes on from here.")
        raise typer.Exit(stop.code) from None
    if as_json:
        print(json.dumps(found))
        return
    names = ["run", "parameters", "tokens", "epochs", "loss"]
    rows = [[run["run"], *(f"{run[name]:,.4g}" for name in names[1:])] for run in found["runs"]]
    print_columns([names, *rows])
    print(f"law: {json.dumps(found['law'])}\nlargest error of the fit: {found['worst']:.1%}")


@study_app.command()
def coordinates(
    changes: Annotated[
        list[str] | None, Argument(help="Changes of the check, such as steps=8 or lr=0.01.")
    ] = None,
    output: Annotated[Path, Option("--output", "-o", help="Folder of the study.")] = Path(
        "studies/coordinates"
    ),
    as_json: Json = False,
) -> None:
    """muP's coordinate check: how far a few steps move models of several widths."""
    from peluche.recipes.recipe import changed
    from peluche.studies.coordinates import (
        CoordinatesConfig,
        study_coordinates,
        write_coordinates,
    )

    config = CoordinatesConfig.parse(changed({}, changes or []), where="the changes")
    found = study_coordinates(config)
    page = write_coordinates(output, found)
    print(json.dumps(found) if as_json else page)


def register(app: typer.Typer) -> None:
    study_app.command()(compare)
    for name, about in COMPARISONS.items():
        study_app.command(name, help=f"{about} Goes on where it stopped.")(comparison(name))
    app.add_typer(study_app, name="study")
