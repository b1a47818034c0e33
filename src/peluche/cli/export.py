"""`peluche export`: write a trained model in the form that other tools read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Argument, Option


def register(app: typer.Typer) -> None:
    app.command("export")(export)


def export(
    model: Annotated[str, Argument(help="A run directory, or the name of one in ./runs.")],
    to: Annotated[
        Literal["huggingface", "gguf", "onnx", "ctranslate2", "word2vec", "word2vec-text"],
        Option(help="Which tool is to read it; word vectors go to word2vec's two formats."),
    ],
    output: Annotated[
        Path | None,
        Option(
            "--output",
            "-o",
            help="Folder or file to make; export/<tool> in the run unless given.",
        ),
    ] = None,
    weights: Annotated[str, Option(help="Which weights of the run: model, best, ...")] = "model",
    format: Annotated[str, Option(help="Of a GGUF file: F32, F16, Q8_0 or Q4_0.")] = "F16",
) -> None:
    """Write a trained model in the form that another tool reads."""
    from peluche.cli.terminal import say
    from peluche.tasks.export import export_model

    def tell(message: str) -> None:
        say(f"peluche: {message}")

    print(export_model(model, to, output, weights=weights, format=format.upper(), say=tell))
