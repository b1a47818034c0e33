"""`peluche answer`: a question and a text in, the piece of the text that answers out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option


def register(app: typer.Typer) -> None:
    app.command("answer")(answer)


def answer(
    run: Annotated[str, Argument(help="a run directory, or the name of one in ./runs")],
    question: Annotated[
        str | None, Argument(help='or lines of input: {"question": "…", "context": "…"}')
    ] = None,
    context: Annotated[
        Path | None, Option(help="the file of the text that the question is about")
    ] = None,
    weights: Annotated[str, Option(help="which weights of the run: best, averaged, …")] = "model",
    encoding: Annotated[str, Option(help="of the text and of standard input")] = "utf-8",
    as_json: Annotated[bool, Option("--json", help="one JSON object a line")] = False,
) -> None:
    """Answer questions about texts by pieces of the texts, one a line; an empty line for none.

    With --json, lines hold the answer, its place in the text, and how far it is above no answer.
    """
    from peluche.data.readers import check_encoding, read_lines, read_text
    from peluche.errors import ConfigError
    from peluche.nn.machine import tune_allocator
    from peluche.tasks.load import load_answerer

    check_encoding(encoding)
    if (question is None) != (context is None):
        raise ConfigError(
            "a question needs its text, and a text its question",
            remedy="give QUESTION --context FILE, or both as JSON on standard input",
        )
    tune_allocator()
    answerer = load_answerer(run, weights=weights)
    if question is not None and context is not None:
        found = iter(answerer.answer([question], [read_text(context, encoding)]))
    else:
        found = answerer.stream(read_lines("-", encoding))
    for one in found:
        line = json.dumps(one.as_json(), ensure_ascii=False) if as_json else one.answer
        print(line, flush=True)
