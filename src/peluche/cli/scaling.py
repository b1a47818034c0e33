"""`peluche study scaling`: the law that the dial predicts losses by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from typer import Argument

from peluche.cli import studying


def scaling(
    recipe: Annotated[str, Argument(help="A recipe with a dial section.")] = "gpt",
    changes: Annotated[
        list[str] | None, Argument(help="Changes of every run's recipe, such as training.seed=1.")
    ] = None,
    output: studying.Folder = Path("studies/scaling"),
    as_json: studying.Json = False,
) -> None:
    """The law that the dial predicts losses by: small runs of several sizes, and a fit."""
    from peluche.cli.tables import print_columns
    from peluche.cli.terminal import say
    from peluche.studies.scaling import run_scaling

    studying.check_folder(output)
    with studying.runner():
        found = run_scaling(output, recipe, changes or [], say)
    if as_json:
        print(json.dumps(found))
        return
    names = ["run", "parameters", "tokens", "epochs", "loss"]
    rows = [[run["run"], *(f"{run[name]:,.4g}" for name in names[1:])] for run in found["runs"]]
    print_columns([names, *rows])
    print(f"law: {json.dumps(found['law'])}\nlargest error of the fit: {found['worst']:.1%}")
