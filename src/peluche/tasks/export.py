"""Trained models in the forms that other tools read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from peluche.errors import ConfigError
from peluche.generation.config import DecodingConfig
from peluche.hub.ctranslate2 import export_ctranslate2
from peluche.hub.decoder_export import export_gguf, export_huggingface_decoder
from peluche.hub.encoder_export import export_huggingface_encoder
from peluche.hub.huggingface import SearchDefaults, export_huggingface
from peluche.hub.onnx import export_onnx
from peluche.hub.pretrained import ModelSource, PretrainedModel
from peluche.hub.resolve import open_source
from peluche.hub.sentence_folders import SentenceSettings
from peluche.models.decoder import Decoder
from peluche.models.encoder import Encoder
from peluche.models.encoder_decoder import EncoderDecoder
from peluche.models.pretrained_encoder import PretrainedEncoder
from peluche.models.state_space_lm import StateSpaceLM
from peluche.models.text_encoder_layouts import as_encoder
from peluche.models.text_encoders import TransformerEncoderConfig
from peluche.tasks.embed import Embedder
from peluche.tasks.fill import Filler
from peluche.tasks.load import KINDS, load_vectors, task_of
from peluche.tasks.restore import restore_completer, restore_model

Form = Literal["huggingface", "gguf", "onnx", "ctranslate2", "word2vec", "word2vec-text"]
Say = Callable[[str], None]
PAIRS = ("translation", "summarisation", "span_corruption")


def export_model(
    model: str,
    to: Form,
    output: Path | None = None,
    *,
    weights: str = "model",
    format: str = "F16",
    say: Say = lambda message: None,
) -> Path:
    """Write a trained model in the form that another tool reads; returns what was made.

    Args:
        model: see `peluche.hub.resolve.open_source`; of word vectors a file, too.
        output: a folder or file to make; `export/<tool>` in the run unless given.
        weights: which of the run's weights: model, best, averaged, ...
        format: of a GGUF file: F32, F16, Q8_0 or Q4_0.
        say: told what was written, and what the other tool does otherwise.

    Raises:
        CheckpointError: there is no such model or no such weights, or they are damaged; or the
            output is there already.
        ConfigError: the model has no such form.
        MissingExtraError: a library that writes it is not installed.
    """
    if to == "word2vec" or to == "word2vec-text":
        binary = to == "word2vec"
        vectors = load_vectors(model, weights=weights)
        name = "vectors.bin" if binary else "vectors.txt"
        path = output or open_source(model).path / "export" / name
        vectors.save(path, binary=binary)
        say(f"{len(vectors.vocabulary):,} vectors")
        return path
    source = open_source(model)
    if output is None:
        if isinstance(source, PretrainedModel):
            raise ConfigError("a pretrained model has no folder for exports", remedy="--output")
        name = f"model-{format}.gguf" if to == "gguf" else to
        output = source.path / "export" / name
    task = task_of(source)
    if task == "language_modelling":
        made = _decoder(source, to, output, weights, format)
    elif task in PAIRS:
        made = _translator(source, to, output, weights, say)
    else:
        made = _encoder(source, to, output, weights)
    say(f"written for {made}")
    return output


def _decoder(source: ModelSource, to: Form, output: Path, weights: str, format: str) -> str:
    completer = restore_completer(source, weights, {})
    found = completer.model
    rest = found.state_dict(), completer.tokenizer, output
    if to == "gguf" and isinstance(found, Decoder):
        return f"llama.cpp, as {export_gguf(found.config, *rest, format)}"
    if to == "huggingface" and isinstance(found, Decoder | StateSpaceLM):
        return f"transformers.{export_huggingface_decoder(found.config, *rest)}"
    if to == "onnx" and isinstance(found, Decoder):
        return f"ONNX runtimes: {export_onnx(found, completer.tokenizer, output)}"
    raise _no_form(source, to)


def _encoder(source: ModelSource, to: Form, output: Path, weights: str) -> str:
    task = KINDS[task_of(source)].restore(source, weights, {})
    found = getattr(task, "model", None)
    encoder = getattr(found, "encoder", None)
    if isinstance(encoder, PretrainedEncoder):  # what is made of its vectors is left out
        found = encoder.model
    tokenizer = source.tokenizer()
    if to == "onnx" and isinstance(found, Encoder):
        return f"ONNX runtimes: {export_onnx(found, tokenizer, output)}"
    if to == "huggingface" and isinstance(task, Filler) and isinstance(found, Encoder):
        name = export_huggingface_encoder(found.config, found.state_dict(), tokenizer, output)
        return f"transformers.{name}"
    if to == "huggingface" and isinstance(task, Embedder):
        return _embedder(source, task, output)
    raise _no_form(source, to)


def _embedder(source: ModelSource, task: Embedder, output: Path) -> str:
    model = task.model
    encoder, config = model.encoder, model.config.encoder
    if isinstance(encoder, PretrainedEncoder):
        parts = encoder.model.config, encoder.model.state_dict()
    elif isinstance(config, TransformerEncoderConfig):
        parts = as_encoder(config, encoder.state_dict())
    else:
        raise _no_form(source, "huggingface")
    name = export_huggingface_encoder(
        *parts,
        task.tokenizer,
        output,
        section="model.encoder",
        begins=encoder.begins,
        sentences=SentenceSettings(
            model.config.pooling, model.config.normalize, task.config.max_length
        ),
    )
    return f"sentence_transformers.SentenceTransformer and transformers.{name}"


def _translator(source: ModelSource, to: Form, output: Path, weights: str, say: Say) -> str:
    tokenizer = source.tokenizer()
    found = restore_model(source, tokenizer, weights)
    if to not in ("huggingface", "ctranslate2") or not isinstance(found, EncoderDecoder):
        raise _no_form(source, to)
    parts = found.config, found.state_dict(), tokenizer, output
    if to == "ctranslate2":
        return f"ctranslate2.{export_ctranslate2(*parts)}"
    settings = source.config.get("decoding") or {}
    decoding = DecodingConfig.parse(settings, where=str(source.path / "config.yaml"))
    if decoding.length_normalization != "average":
        say("transformers has no gnmt length normalization; it divides by length^α instead")
    search = SearchDefaults(
        decoding.beams if decoding.kind == "beam" else 1,
        decoding.length_penalty,
        decoding.max_length + 2,
    )
    return f"transformers.{export_huggingface(*parts, search)}"


def _no_form(source: ModelSource, to: Form) -> ConfigError:
    values = source.config.get("model") or {}
    kind = (values.get("encoder") or values).get("kind", "?")
    return ConfigError(
        f"a model of {task_of(source)}, of kind '{kind}', has no form that {to} reads",
        where=source.path,
        remedy="export an encoder_decoder to huggingface or ctranslate2, a decoder to huggingface, "
        "gguf or onnx, an encoder that fills in or embeds to huggingface, any encoder to onnx; "
        "peluche itself reads the run as it is",
    )
