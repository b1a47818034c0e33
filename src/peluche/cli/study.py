"""`peluche study`: experiments that compare ideas, each with a page, pictures and numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from peluche.cli import studying
from peluche.cli.compare import COMPARISONS, compare, comparison
from peluche.cli.scaling import scaling

study_app = typer.Typer(
    no_args_is_help=True, help="Experiments that compare ideas, each with a page and numbers."
)


@study_app.command()
def memory(
    changes: Annotated[
        list[str] | None, Argument(help="Changes of the task, such as steps=100 or lengths=[5,20].")
    ] = None,
    output: studying.Folder = Path("studies/memory"),
    as_json: studying.Json = False,
) -> None:
    """What RNN, GRU, LSTM and attention remember: gradients by distance, recall by length."""
    from peluche.cli.terminal import say
    from peluche.recipes.recipe import changed
    from peluche.studies.memory import MemoryConfig, study_memory
    from peluche.studies.memory_page import write_memory

    studying.check_folder(output)
    config = MemoryConfig.parse(changed({}, changes or []), where="the changes")
    found = study_memory(config, say)
    page = write_memory(output, found)
    print(json.dumps(found) if as_json else page)


@study_app.command()
def history(
    changes: studying.RunChanges = None,
    output: studying.Folder = Path("studies/history"),
    seeds: Annotated[int, Option(min=1, help="Runs of each rung.")] = 3,
    rungs: Annotated[str | None, Option(help="Only these, such as lstm,transformer.")] = None,
    ray: studying.Ray = False,
    as_json: studying.Json = False,
) -> None:
    """LSTM, GRU, attention, Transformer on one corpus and budget. Goes on where it stopped."""
    from peluche.cli.terminal import say
    from peluche.studies.history import chosen, run_history
    from peluche.studies.history_page import write_history

    studying.check_folder(output)
    picked = chosen(rungs.split(",") if rungs else None)
    with studying.runner(ray) as run:
        results = run_history(output, picked, changes or [], seeds, say, run)
    page = write_history(output, results, say)
    print((output / "study.json").read_text(encoding="utf-8") if as_json else page)


@study_app.command()
def coordinates(
    changes: Annotated[
        list[str] | None, Argument(help="Changes of the check, such as steps=8 or lr=0.01.")
    ] = None,
    output: studying.Folder = Path("studies/coordinates"),
    as_json: studying.Json = False,
) -> None:
    """muP's coordinate check: how far a few steps move models of several widths."""
    from peluche.recipes.recipe import changed
    from peluche.studies.coordinates import CoordinatesConfig, study_coordinates, write_coordinates

    studying.check_folder(output)
    config = CoordinatesConfig.parse(changed({}, changes or []), where="the changes")
    found = study_coordinates(config)
    page = write_coordinates(output, found)
    print(json.dumps(found) if as_json else page)


def register(app: typer.Typer) -> None:
    study_app.command()(scaling)
    study_app.command()(compare)
    for name, about in COMPARISONS.items():
        study_app.command(name, help=f"{about} Goes on where it stopped.")(comparison(name))
    app.add_typer(study_app, name="study")
