"""`peluche classify`: texts in, labels out, one a line."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from typer import Argument, Option


def register(app: typer.Typer) -> None:
    app.command("classify")(classify)


def classify(
    run: Annotated[str, Argument(help="a run directory, or the name of one in ./runs")],
    text: Annotated[str | None, Argument(help="or the lines of standard input")] = None,
    weights: Annotated[str, Option(help="which weights of the run: best, averaged, …")] = "model",
    encoding: Annotated[str, Option(help="of standard input")] = "utf-8",
    as_json: Annotated[bool, Option("--json", help="one JSON object a line")] = False,
) -> None:
    """Label the lines of standard input, or one text. A tab parts the two texts of a pair.

    With --json, lines hold the label and the calibrated probability of every label.
    """
    from peluche.data.readers import check_encoding, read_lines
    from peluche.nn.machine import tune_allocator
    from peluche.tasks.load import load_classifier

    check_encoding(encoding)
    tune_allocator()
    classifier = load_classifier(run, weights=weights)
    lines = [text] if text is not None else read_lines("-", encoding)
    for found in classifier.stream(lines):
        line = json.dumps(found.as_json(), ensure_ascii=False) if as_json else found.label
        print(line, flush=True)
