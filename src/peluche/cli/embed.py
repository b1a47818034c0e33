"""`peluche embed`: texts in, vectors out."""

from __future__ import annotations

import json
from itertools import islice
from typing import Annotated

import typer
from typer import Argument, Option

BLOCK = 1024


def register(app: typer.Typer) -> None:
    app.command("embed")(embed)


def embed(
    model: Annotated[str, Argument(help="a Hugging Face folder, a name, or a run")],
    text: Annotated[str | None, Argument(help="or the lines of standard input")] = None,
    weights: Annotated[str, Option(help="which weights of a run: best, averaged, …")] = "model",
    encoding: Annotated[str, Option(help="of standard input")] = "utf-8",
    as_json: Annotated[bool, Option("--json", help="one JSON object a line")] = False,
) -> None:
    """A vector for a text, or for each line of standard input; tab-separated numbers."""
    from peluche.data.readers import check_encoding, read_lines
    from peluche.nn.machine import tune_allocator
    from peluche.tasks.load import load_embedder

    check_encoding(encoding)
    tune_allocator()
    embedder = load_embedder(model, weights=weights)
    waiting = iter([text]) if text is not None else read_lines("-", encoding)
    while block := list(islice(waiting, BLOCK)):
        for source, vector in zip(block, embedder.embed(block).tolist(), strict=True):
            if as_json:
                print(json.dumps({"text": source, "embedding": vector}, ensure_ascii=False))
            else:
                print("\t".join(f"{number:.7g}" for number in vector), flush=True)
