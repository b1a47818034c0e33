"""`peluche export`: write a trained model in the form that other tools read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Argument, Option


def register(app: typer.Typer) -> None:
    app.command("export")(export)


def export(
    run: Annotated[str, Argument(help="A run directory, or the name of one in ./runs.")],
    to: Annotated[Literal["huggingface", "ctranslate2"], Option(help="Which tool is to read it.")],
    output: Annotated[
        Path | None, Option(help="Folder to make; export/<tool> in the run unless given.")
    ] = None,
    weights: Annotated[str, Option(help="Which weights of the run: model, best, ...")] = "model",
) -> None:
    """Write a trained model in the form that another tool reads."""
    from peluche.hub.ctranslate2 import export_ctranslate2
    from peluche.hub.huggingface import export_huggingface
    from peluche.hub.resolve import resolve
    from peluche.models.encoder_decoder import EncoderDecoderConfig

    opened = resolve(run)
    config = EncoderDecoderConfig.parse(opened.config["model"], where=f"the config of {run}")
    folder = output or opened.path / "export" / to
    write = {"huggingface": export_huggingface, "ctranslate2": export_ctranslate2}[to]
    reader = write(config, opened.load_weights(weights), opened.tokenizer(), folder)
    module = {"huggingface": "transformers", "ctranslate2": "ctranslate2"}[to]
    print(f"readable by {module}.{reader}", file=sys.stderr)
    print(folder)
