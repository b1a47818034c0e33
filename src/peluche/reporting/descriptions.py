"""Parts of a run's config in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Values = Mapping[str, Any]


def describe_source(source: Values) -> str:
    """A source, from its config."""
    described = _origin(source)
    low, high = source.get("slice") or (0, 1)
    if (low, high) != (0, 1):
        described += f", {high - low:.3g} of it"
    if source.get("limit"):
        described += f", the first {source['limit']:,} examples"
    return described


def _origin(source: Values) -> str:
    kind = source.get("kind")
    if kind == "builtin":
        return f"built-in English–French corpus, {source['split']}, {source['size']:,} pairs"
    if kind == "catalogue":
        variant = f" ({source['variant']})" if source.get("variant") else ""
        languages = f" {'–'.join(source['languages'])}" if source.get("languages") else ""
        return f"{source['name']}{languages}, {source['split']}{variant}"
    if kind == "mixture":
        return "; ".join(
            f"{part['weight']:g} of {describe_source(part['source'])}" for part in source["sources"]
        )
    if kind == "word_tests":
        return ", ".join(str(path) for path in source["files"])
    if kind == "lines" and "source" in source:
        return f"{source['source']} and {source['target']}"
    return str(source.get("path", kind))


def describe_model(model: Values) -> str:
    """The kind and size of a model, from its config."""
    kind = str(model.get("kind", "model")).replace("_", "-")
    if kind == "pretrained" and model.get("architecture"):
        return f"{describe_model(model['architecture'])}, started from {model['model']}"
    if kind == "recurrent-seq2seq":
        looks = {"none": "without attention", "fixed": "with one vector for the whole source"}
        layers = f"{model['layers']} + {model['decoder_layers'] or model['layers']}"
        return (
            f"recurrent sequence to sequence, {model['cell'].upper()}, {layers} layers of width "
            f"{model['hidden']}, {looks.get(model['attention'], model['attention'] + ' attention')}"
        )
    if kind != "encoder-decoder":
        return kind
    layers = f"{model['layers']} + {model['decoder_layers'] or model['layers']}"
    return (
        f"encoder-decoder Transformer, {layers} layers of width {model['d_model']}, "
        f"{model['heads']} heads"
    )


def describe_decoding(decoding: Values) -> str:
    """A search, from its config."""
    kind = decoding.get("kind")
    return f"beam search with {decoding['beams']} beams" if kind == "beam" else str(kind)


def describe_tokenizer(tokenizer: Values) -> str:
    """A tokenizer, from its config."""
    names = {"bpe": "BPE", "wordpiece": "WordPiece", "unigram": "Unigram"}
    kind = str(tokenizer.get("kind"))
    return names.get(kind, kind) + (" on bytes" if tokenizer.get("byte_level") else "")


def duration(seconds: float) -> str:
    """A length of time for people: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60:02d} min"
