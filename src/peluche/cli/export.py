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
    to: Annotated[
        Literal["huggingface", "ctranslate2", "word2vec", "word2vec-text"],
        Option(help="Which tool is to read it; word vectors go to word2vec's two formats."),
    ],
    output: Annotated[
        Path | None, Option(help="Folder or file to make; export/<tool> in the run unless given.")
    ] = None,
    weights: Annotated[str, Option(help="Which weights of the run: model, best, ...")] = "model",
) -> None:
    """Write a trained model in the form that another tool reads."""
    from peluche.errors import ConfigError
    from peluche.generation.config import DecodingConfig
    from peluche.hub.ctranslate2 import export_ctranslate2
    from peluche.hub.huggingface import SearchDefaults, export_huggingface
    from peluche.hub.resolve import resolve
    from peluche.models.encoder_decoder import EncoderDecoder
    from peluche.tasks.load import load_vectors
    from peluche.tasks.restore import restore_model

    if to.startswith("word2vec"):
        binary = to == "word2vec"
        vectors = load_vectors(run, weights=weights)
        path = output or resolve(run).path / "export" / ("vectors.bin" if binary else "vectors.txt")
        vectors.save(path, binary=binary)
        _say(f"{len(vectors.vocabulary):,} vectors")
        print(path)
        return
    opened = resolve(run)
    tokenizer = opened.tokenizer()
    model = restore_model(opened, len(tokenizer), weights)
    if not isinstance(model, EncoderDecoder):
        raise ConfigError(
            f"a model of kind '{model.config.kind}' has no form that {to} reads",
            where=opened.path,
            remedy="export an encoder_decoder; peluche itself reads the run as it is",
        )
    parts = model.config, model.state_dict(), tokenizer, output or opened.path / "export" / to
    if to == "ctranslate2":
        reader = f"ctranslate2.{export_ctranslate2(*parts)}"
    else:
        settings = opened.config.get("decoding") or {}
        decoding = DecodingConfig.parse(settings, where=str(opened.path / "config.yaml"))
        if decoding.length_normalization != "average":
            _say("transformers has no gnmt length normalization; it divides by length^α instead")
        search = SearchDefaults(
            decoding.beams if decoding.kind == "beam" else 1,
            decoding.length_penalty,
            decoding.max_length + 2,
        )
        reader = f"transformers.{export_huggingface(*parts, search)}"
    _say(f"written for {reader}")
    print(parts[-1])


def _say(message: str) -> None:
    print(f"peluche: {message}", file=sys.stderr)
