"""`peluche parse`: sentences in, trees out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option


def register(app: typer.Typer) -> None:
    app.command("parse")(parse)


def parse(
    run: Annotated[str, Argument(help="a run directory, or the name of one in ./runs")],
    text: Annotated[str | None, Argument(help="or the lines of standard input")] = None,
    tokens: Annotated[bool, Option("--tokens", help="tokens are apart already")] = False,
    picture: Annotated[
        Path | None, Option(help="draw the first tree into this .svg, .png or .pdf")
    ] = None,
    weights: Annotated[str, Option(help="which weights of the run: best, averaged, …")] = "model",
    encoding: Annotated[str, Option(help="of standard input")] = "utf-8",
    as_json: Annotated[bool, Option("--json", help="one JSON object a line")] = False,
) -> None:
    """Parse the sentences of standard input, one a line, or one sentence.

    Dependency trees are printed as CoNLL-U, constituency trees in brackets. Punctuation and clitics
    are parted from words first, as treebanks do it; with --tokens, spaces alone part tokens.
    """
    from peluche.data.readers import check_encoding, read_lines
    from peluche.nn.machine import tune_allocator
    from peluche.tasks.load import load_parser

    check_encoding(encoding)
    tune_allocator()
    parser = load_parser(run, weights=weights)
    lines = [text] if text is not None else read_lines("-", encoding)
    for number, found in enumerate(parser.stream(lines, split=not tokens)):
        if picture is not None and number == 0:
            from peluche.reporting.trees import draw_tree

            draw_tree(found, picture)
        if as_json:
            print(json.dumps(found.as_json(), ensure_ascii=False), flush=True)
        else:
            print(found, end="", flush=True)
