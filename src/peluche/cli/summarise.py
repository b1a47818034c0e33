"""`peluche summarise`: texts in, short ones out, one a line."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from typer import Argument, Option


def register(app: typer.Typer) -> None:
    app.command("summarise")(summarise)


def summarise(
    run: Annotated[str, Argument(help="a run directory, or the name of one in ./runs")],
    text: Annotated[str | None, Argument(help="or the lines of standard input")] = None,
    beam: Annotated[int | None, Option(min=1, help="hypotheses followed; 1 is greedy")] = None,
    weights: Annotated[str, Option(help="which weights of the run: best, averaged, …")] = "model",
    encoding: Annotated[str, Option(help="of standard input")] = "utf-8",
    as_json: Annotated[bool, Option("--json", help="one JSON object a line")] = False,
) -> None:
    """Say in short what a text is about, or each line of standard input."""
    from peluche.data.readers import check_encoding, read_lines
    from peluche.nn.machine import tune_allocator
    from peluche.tasks.load import load_summariser

    check_encoding(encoding)
    tune_allocator()
    summariser = load_summariser(run, weights=weights)
    lines = [text] if text is not None else read_lines("-", encoding)
    for found in summariser.stream(lines, summariser.options(beams=beam), scores=as_json):
        # A line break in a summary would break the alignment with the texts.
        said = found.translation.replace("\n", " ")
        if as_json:
            item = {"text": found.source, "summary": said, "score": found.score}
            said = json.dumps(item, ensure_ascii=False)
        print(said, flush=True)
