"""`peluche tag`: sentences in, a tag per token out."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from typer import Argument, Option


def register(app: typer.Typer) -> None:
    app.command("tag")(tag)


def tag(
    run: Annotated[str, Argument(help="a run directory, or the name of one in ./runs")],
    text: Annotated[str | None, Argument(help="or the lines of standard input")] = None,
    tokens: Annotated[bool, Option("--tokens", help="tokens are apart already")] = False,
    weights: Annotated[str, Option(help="which weights of the run: best, averaged, …")] = "model",
    encoding: Annotated[str, Option(help="of standard input")] = "utf-8",
    as_json: Annotated[bool, Option("--json", help="one JSON object a line")] = False,
) -> None:
    """Tag the sentences of standard input, one a line, or one sentence.

    Prints a token and its tag a line, and a blank line after each sentence. Punctuation and clitics
    are parted from words first, as treebanks do it; with --tokens, spaces alone part tokens.
    """
    from peluche.data.readers import check_encoding, read_lines
    from peluche.nn.machine import tune_allocator
    from peluche.tasks.load import load_tagger

    check_encoding(encoding)
    tune_allocator()
    tagger = load_tagger(run, weights=weights)
    lines = [text] if text is not None else read_lines("-", encoding)
    for found in tagger.stream(lines, split=not tokens):
        if as_json:
            print(json.dumps(found.as_json(), ensure_ascii=False), flush=True)
        else:
            print(found, end="", flush=True)
