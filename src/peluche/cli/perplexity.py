"""`peluche perplexity`: how likely a text is to a language model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option


def register(app: typer.Typer) -> None:
    app.command("perplexity")(perplexity)


def perplexity(
    model: Annotated[str, Argument(help="a run, a GGUF file, a Hugging Face folder, or a name")],
    file: Annotated[Path, Argument(help="a text")],
    context: Annotated[int, Option(min=2, help="tokens of a window")] = 512,
    bytes: Annotated[int | None, Option(min=1, help="only so many at the beginning")] = None,
    encoding: Annotated[str, Option(help="of the file")] = "utf-8",
    weights: Annotated[str, Option(help="which weights of a run: best, averaged, …")] = "model",
    as_json: Annotated[bool, Option("--json", help="one JSON object")] = False,
) -> None:
    """How likely a text is to a language model.

    The text is cut into windows that do not overlap; the first token of each is read and not
    scored, and nothing is put before the text. Bits per byte count all bytes of the text.
    """
    from peluche.data.readers import check_encoding, read_text
    from peluche.nn.machine import tune_allocator
    from peluche.tasks.load import load_completer
    from peluche.tasks.perplexity import describe, window_likelihood

    check_encoding(encoding)
    text = read_text(file, encoding, bytes)
    tune_allocator()
    completer = load_completer(model, weights=weights)
    found = window_likelihood(completer.model, completer.tokenizer, text, context)
    print(json.dumps(found.as_json()) if as_json else describe(found))
