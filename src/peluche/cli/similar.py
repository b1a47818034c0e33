"""`peluche similar`: the words most like a word."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

if TYPE_CHECKING:
    from collections.abc import Iterable

    from peluche.tasks.word_vectors import Neighbour


def register(app: typer.Typer) -> None:
    app.command("similar")(similar)


def similar(
    run: Annotated[str, Argument(help="a run directory, its name in ./runs, or a file of vectors")],
    word: Annotated[str, Argument(help='a word or a phrase, such as "teddy bear"')],
    count: Annotated[int, Option(min=1, help="how many words")] = 10,
    weights: Annotated[str, Option(help="which weights of the run: best, averaged, …")] = "model",
    as_json: Annotated[bool, Option("--json", help="one JSON object a line")] = False,
) -> None:
    """List the words whose vectors point most nearly where this word's does."""
    from peluche.tasks.load import load_vectors

    print_neighbours(load_vectors(run, weights=weights).similar(word, count), as_json)


def print_neighbours(found: Iterable[Neighbour], as_json: bool) -> None:
    """One word a line, with the cosine of the angle."""
    for neighbour in found:
        line = json.dumps(neighbour.as_json(), ensure_ascii=False) if as_json else None
        print(line or f"{neighbour.similarity:.3f}  {neighbour.word}")
