"""`peluche export`: write a trained model in the form that other tools read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

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
        Path | None, Option(help="Folder or file to make; export/<tool> in the run unless given.")
    ] = None,
    weights: Annotated[str, Option(help="Which weights of the run: model, best, ...")] = "model",
    format: Annotated[str, Option(help="Of a GGUF file: F32, F16, Q8_0 or Q4_0.")] = "F16",
) -> None:
    """Write a trained model in the form that another tool reads."""
    from peluche.errors import ConfigError
    from peluche.hub.pretrained import PretrainedModel
    from peluche.hub.resolve import open_source
    from peluche.tasks.load import load_vectors, task_of

    if to.startswith("word2vec"):
        binary = to == "word2vec"
        vectors = load_vectors(model, weights=weights)
        path = output or open_source(model).path / "export" / (
            "vectors.bin" if binary else "vectors.txt"
        )
        vectors.save(path, binary=binary)
        _say(f"{len(vectors.vocabulary):,} vectors")
        print(path)
        return
    source = open_source(model)
    if output is None:
        if isinstance(source, PretrainedModel):
            raise ConfigError("a pretrained model has no folder for exports", remedy="--output")
        name = f"model-{format}.gguf" if to == "gguf" else to
        output = source.path / "export" / name
    pairs = ("translation", "summarisation", "span_corruption")
    makers = {"language_modelling": _export_decoder, **dict.fromkeys(pairs, _export_translator)}
    export = makers.get(task_of(source), _export_encoder)
    _say(f"written for {export(source, to, output, weights, format)}")
    print(output)


def _export_decoder(source: Any, to: str, output: Path, weights: str, format: str) -> str:
    from peluche.hub.decoder_export import export_gguf, export_huggingface_decoder
    from peluche.models.decoder import Decoder
    from peluche.models.state_space_lm import StateSpaceLM
    from peluche.tasks.restore import restore_completer

    completer = restore_completer(source, weights, {})
    found = completer.model
    rest = found.state_dict(), completer.tokenizer, output
    if to == "gguf" and isinstance(found, Decoder):
        return f"llama.cpp, as {export_gguf(found.config, *rest, format)}"
    if to == "huggingface" and isinstance(found, Decoder | StateSpaceLM):
        return f"transformers.{export_huggingface_decoder(found.config, *rest)}"
    if to == "onnx" and isinstance(found, Decoder):
        from peluche.hub.onnx import export_onnx

        return f"ONNX runtimes: {export_onnx(found, completer.tokenizer, output)}"
    raise _no_form(source, found, to)


def _export_encoder(source: Any, to: str, output: Path, weights: str, format: str) -> str:
    from peluche.models.encoder import Encoder
    from peluche.models.pretrained_encoder import PretrainedEncoder
    from peluche.tasks.load import KINDS, task_of

    task = KINDS[task_of(source)].restore(source, weights, {})
    found = getattr(task, "model", None)
    encoder = getattr(found, "encoder", None)
    if isinstance(encoder, PretrainedEncoder):  # what is made of its vectors is left out
        found = encoder.model
    if to != "onnx" or not isinstance(found, Encoder):
        raise _no_form(source, found, to)
    from peluche.hub.onnx import export_onnx

    return f"ONNX runtimes: {export_onnx(found, source.tokenizer(), output)}"


def _export_translator(source: Any, to: str, output: Path, weights: str, format: str) -> str:
    from peluche.generation.config import DecodingConfig
    from peluche.hub.ctranslate2 import export_ctranslate2
    from peluche.hub.huggingface import SearchDefaults, export_huggingface
    from peluche.models.encoder_decoder import EncoderDecoder
    from peluche.tasks.restore import restore_model

    tokenizer = source.tokenizer()
    found = restore_model(source, tokenizer, weights)
    if to not in ("huggingface", "ctranslate2") or not isinstance(found, EncoderDecoder):
        raise _no_form(source, found, to)
    parts = found.config, found.state_dict(), tokenizer, output
    if to == "ctranslate2":
        return f"ctranslate2.{export_ctranslate2(*parts)}"
    settings = source.config.get("decoding") or {}
    decoding = DecodingConfig.parse(settings, where=str(source.path / "config.yaml"))
    if decoding.length_normalization != "average":
        _say("transformers has no gnmt length normalization; it divides by length^α instead")
    search = SearchDefaults(
        decoding.beams if decoding.kind == "beam" else 1,
        decoding.length_penalty,
        decoding.max_length + 2,
    )
    return f"transformers.{export_huggingface(*parts, search)}"


def _no_form(source: Any, model: Any, to: str) -> Exception:
    from peluche.errors import ConfigError

    return ConfigError(
        f"a model of kind '{getattr(model.config, 'kind', '?')}' has no form that {to} reads",
        where=source.path,
        remedy="export an encoder_decoder to huggingface or ctranslate2, a decoder to huggingface, "
        "gguf or onnx, an encoder to onnx; peluche itself reads the run as it is",
    )


def _say(message: str) -> None:
    print(f"peluche: {message}", file=sys.stderr)
