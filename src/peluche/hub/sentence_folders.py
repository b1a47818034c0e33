"""What sentence-transformers writes beside an encoder: how one vector is made of many.

It need not be installed for that.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from peluche.errors import CheckpointError, ConfigError
from peluche.hub.exported import write_json
from peluche.hub.from_huggingface import read_json
from peluche.nn.pooling import PoolingKind
from peluche.text.pretrained import read_settings

# What a pooling is called there: of today, and of the switches that older folders have.
POOLINGS: dict[PoolingKind, tuple[str, str]] = {
    "first": ("cls", "pooling_mode_cls_token"),
    "last": ("lasttoken", "pooling_mode_lasttoken"),
    "mean": ("mean", "pooling_mode_mean_tokens"),
    "max": ("max", "pooling_mode_max_tokens"),
}
POOLING, TRANSFORMER, MODULES = "1_Pooling", "sentence_bert_config.json", "modules.json"
KNOWN = {"Transformer", "Pooling", "Normalize"}


class SentenceSettings(NamedTuple):
    """How one vector is made of a text.

    Attributes:
        pooling: of its tokens' vectors.
        normalize: whether it has length one.
        max_length: of what is read of a text, in tokens.
    """

    pooling: PoolingKind
    normalize: bool
    max_length: int


def read_sentence_settings(folder: Path) -> dict[str, Any]:
    """What of `SentenceSettings` a folder says; without a word of it, the mean as it is.

    Raises:
        ConfigError: something has no equal here.
        CheckpointError: a file is damaged.
    """
    settings: dict[str, Any] = {"pooling": "mean", "normalize": False}
    if (folder / POOLING / "config.json").is_file():
        settings["pooling"] = _pooling(folder / POOLING / "config.json")
    if not (folder / MODULES).is_file():
        return settings
    settings["normalize"] = "Normalize" in _modules(folder / MODULES)
    longest = (
        read_settings(folder / TRANSFORMER).get("max_seq_length"),
        read_settings(folder / "tokenizer_config.json").get("model_max_length"),
    )
    found = next((number for number in longest if isinstance(number, int)), None)
    return settings if found is None else {**settings, "max_length": found}


def _pooling(path: Path) -> PoolingKind:
    values = read_json(path)
    switches = (key for key in values if key.startswith("pooling_mode_"))
    chosen = values.get("pooling_mode") or [key for key in switches if values[key] is True]
    for kind, (name, switch) in POOLINGS.items():
        if chosen in (name, [name], [switch]):
            return kind
    raise ConfigError(
        f"this pooling has no equal here: {chosen}",
        where=path,
        remedy=f"give a model with one of {', '.join(name for name, _ in POOLINGS.values())}",
    )


def _modules(path: Path) -> set[str]:
    """The names of the classes that read a text one after another."""
    try:
        modules = json.loads(path.read_text(encoding="utf-8"))
        found = {str(module["type"]).rpartition(".")[2] for module in modules}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path.name} cannot be read ({error})", where=path, remedy="get the model again"
        ) from None
    if found - KNOWN:
        raise ConfigError(
            f"this model has no equal here: it has {', '.join(sorted(found - KNOWN))}",
            where=path,
            remedy=f"give a model of {', '.join(sorted(KNOWN))} alone",
        )
    return found


def write_sentence_settings(folder: Path, width: int, settings: SentenceSettings) -> None:
    """The files that make a folder of an encoder one of sentence-transformers, of any version.

    Args:
        width: of vectors.

    Raises:
        ConfigError: it has no such pooling.
    """
    if settings.pooling not in POOLINGS:
        raise ConfigError(
            f"sentence-transformers cannot express model.pooling={settings.pooling}",
            where="the run's config",
            remedy=f"train with model.pooling {'|'.join(POOLINGS)}",
        )
    paths = {"Transformer": "", "Pooling": POOLING}
    if settings.normalize:
        paths["Normalize"] = "2_Normalize"
    modules = [
        {
            "idx": number,
            "name": str(number),
            "path": path,
            "type": f"sentence_transformers.models.{name}",
        }
        for number, (name, path) in enumerate(paths.items())
    ]
    write_json(folder / MODULES, modules)
    for path in filter(None, paths.values()):
        (folder / path).mkdir()
    modes = {switch: kind == settings.pooling for kind, (_, switch) in POOLINGS.items()}
    write_json(folder / POOLING / "config.json", {"word_embedding_dimension": width, **modes})
    longest = {"max_seq_length": settings.max_length, "do_lower_case": False}
    write_json(folder / TRANSFORMER, longest)
