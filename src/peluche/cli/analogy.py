"""`peluche analogy`: king − man + woman."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Argument, Option

from peluche.cli.similar import print_neighbours


def register(app: typer.Typer) -> None:
    app.command("analogy")(analogy)


def analogy(
    run: Annotated[str, Argument(help="a run directory, its name in ./runs, or a file of vectors")],
    word: Annotated[str, Argument(help="king, which is to …")],
    minus: Annotated[str, Argument(help="… man, as what is to …")],
    plus: Annotated[str, Argument(help="… woman?")],
    count: Annotated[int, Option(min=1, help="how many words")] = 10,
    weights: Annotated[str, Option(help="which weights of the run: best, averaged, …")] = "model",
    as_json: Annotated[bool, Option("--json", help="one JSON object a line")] = False,
) -> None:
    """Find what is to PLUS as WORD is to MINUS, by adding and subtracting vectors."""
    from peluche.tasks.load import load_vectors

    found = load_vectors(run, weights=weights).analogy(word, minus, plus, count)
    print_neighbours(found, as_json)
