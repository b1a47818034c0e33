"""`peluche fill`: what may stand at [MASK]."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from typer import Argument, Option


def register(app: typer.Typer) -> None:
    app.command("fill")(fill)


def fill(
    model: Annotated[str, Argument(help="a run that was trained with hidden tokens")],
    text: Annotated[str | None, Argument(help="with [MASK] in it; or lines of input")] = None,
    count: Annotated[int, Option(min=1, help="candidates for each [MASK]")] = 5,
    weights: Annotated[str, Option(help="which weights of the run: best, averaged, …")] = "model",
    encoding: Annotated[str, Option(help="of standard input")] = "utf-8",
    as_json: Annotated[bool, Option("--json", help="one JSON object a line")] = False,
) -> None:
    """Say what may stand at each [MASK] of a text, or of each line of standard input."""
    from peluche.data.readers import check_encoding, read_lines
    from peluche.tasks.load import load_filler

    check_encoding(encoding)
    filler = load_filler(model, weights=weights)
    for line in [text] if text is not None else read_lines("-", encoding):
        (masks,) = filler.fill([line], count)
        if as_json:
            candidates = [[vars(candidate) for candidate in mask] for mask in masks]
            print(json.dumps({"text": line, "masks": candidates}, ensure_ascii=False), flush=True)
            continue
        for mask in masks:
            found = "  ".join(f"{one.token} {one.probability:.3f}" for one in mask)
            print(found, flush=True)
