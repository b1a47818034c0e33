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
from peluche.models.registry import DEFAULT_KIND
from peluche.models.state_space_lm import StateSpaceLM
from peluche.models.text_encoder_layouts import as_encoder
from peluche.models.text_encoders import TransformerEncoderConfig
from peluche.tasks.answer import QuestionAnswerer
from peluche.tasks.classify import TextClassifier
from peluche.tasks.embed import Embedder
from peluche.tasks.fill import Filler
from peluche.tasks.load import KINDS, load_vectors, task_of
from peluche.tasks.restore import restore_completer, restore_model
from peluche.tasks.weights import model_values

Form = Literal["huggingface", "gguf", "onnx", "ctranslate2", "word2vec", "word2vec-text"]
Say = Callable[[str], None]

_SEQUENCES: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("huggingface", "ctranslate2"), (DEFAULT_KIND,)
)
FORMS: dict[str, dict[str, tuple[str, ...]]] = {
    "translation": _SEQUENCES,
    "summarisation": _SEQUENCES,
    "span_corruption": _SEQUENCES,
    "language_modelling": {
        "huggingface": ("decoder", "state_space_lm"),
        "gguf": ("decoder",),
        "onnx": ("decoder",),
    },
    "masked_language_modelling": {"huggingface": ("encoder",), "onnx": ("encoder",)},
    "embedding": {"huggingface": ("pretrained", "transformer"), "onnx": ("pretrained",)},
    "question_answering": {"huggingface": ("pretrained",), "onnx": ("pretrained",)},
    "classification": {"onnx": ("pretrained",)},
    "word_vectors": dict.fromkeys(("word2vec", "word2vec-text"), ("word2vec", "glove")),
}
"""By task, which tools read what kinds of its models, or of their encoders."""


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
        return _vectors(model, to, output, weights, say)
    source = open_source(model)
    if output is None:
        if isinstance(source, PretrainedModel):
            raise ConfigError("a pretrained model has no folder for exports", remedy="--output")
        name = f"model-{format}.gguf" if to == "gguf" else to
        output = source.path / "export" / name
    task = task_of(source)
    _require_form(source, task, to)
    if task == "language_modelling":
        made = _decoder(source, to, output, weights, format)
    elif FORMS[task] is _SEQUENCES:
        made = _translator(source, to, output, weights, say)
    else:
        made = _encoder(source, to, output, weights)
    say(f"written for {made}")
    return output


def _require_form(source: ModelSource, task: str, to: Form) -> None:
    """Before anything is loaded: there is something that reads such a model."""
    values, forms = model_values(source), FORMS.get(task, {})
    if values.get("kind") == "pretrained":  # what the run began with
        values = values.get("architecture") or values
    key = "model.encoder.kind" if "encoder" in values else "model.kind"
    kind = (values.get("encoder") or values).get("kind", DEFAULT_KIND)
    if kind == "encoder" and task == "embedding":  # another library's, opened as a trained one
        kind = "pretrained"
    if kind in forms.get(to, ()):
        return
    if to in forms:
        what, ways = f"{key}={kind}", [f"train with {key} {' or '.join(forms[to])}"]
    else:
        what = f"task={task}"
        ways = [f"--to {form} ({key} {' or '.join(kinds)})" for form, kinds in forms.items()]
    ways.append(f"use the run as it is: peluche {KINDS[task].verb} {source.path}")
    raise ConfigError(
        f"{what} cannot be exported to {to}", where=source.path, remedy="; or ".join(ways)
    )


def _vectors(model: str, to: Form, output: Path | None, weights: str, say: Say) -> Path:
    binary = to == "word2vec"
    vectors = load_vectors(model, weights=weights)
    name = "vectors.bin" if binary else "vectors.txt"
    path = output or open_source(model).path / "export" / name
    vectors.save(path, binary=binary)
    say(f"{len(vectors.vocabulary):,} vectors")
    return path


def _decoder(source: ModelSource, to: Form, output: Path, weights: str, format: str) -> str:
    completer = restore_completer(source, weights, {})
    found = completer.model
    rest = found.state_dict(), completer.tokenizer, output
    if to == "huggingface":
        assert isinstance(found, Decoder | StateSpaceLM)
        return f"transformers.{export_huggingface_decoder(found.config, *rest)}"
    assert isinstance(found, Decoder)
    if to == "gguf":
        return f"llama.cpp, as {export_gguf(found.config, *rest, format)}"
    return f"ONNX runtimes: {export_onnx(found, completer.tokenizer, output)}"


def _encoder(source: ModelSource, to: Form, output: Path, weights: str) -> str:
    task = KINDS[task_of(source)].restore(source, weights, {})
    if to == "huggingface" and isinstance(task, Embedder):
        return _embedder(task, output)
    assert isinstance(task, Embedder | Filler | QuestionAnswerer | TextClassifier)
    found = task.model if isinstance(task, Filler) else task.model.encoder
    if isinstance(found, PretrainedEncoder):
        found = found.model
    assert isinstance(found, Encoder)
    tokenizer = source.tokenizer()
    if to == "onnx":  # what is made of its vectors is left out
        return f"ONNX runtimes: {export_onnx(found, tokenizer, output)}"
    answers = isinstance(task, QuestionAnswerer)
    state = found.state_dict()
    if isinstance(task, QuestionAnswerer):
        state |= {f"head.{name}": part for name, part in task.model.head.state_dict().items()}
    section = "model.encoder.architecture" if answers else "model"
    name = export_huggingface_encoder(
        found.config, state, tokenizer, output, section=section, answers=answers
    )
    return f"transformers.{name}"


def _embedder(task: Embedder, output: Path) -> str:
    model = task.model
    encoder, config = model.encoder, model.config.encoder
    if isinstance(encoder, PretrainedEncoder):
        parts = encoder.model.config, encoder.model.state_dict()
    else:
        assert isinstance(config, TransformerEncoderConfig)
        parts = as_encoder(config, encoder.state_dict())
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
    assert isinstance(found, EncoderDecoder)
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
