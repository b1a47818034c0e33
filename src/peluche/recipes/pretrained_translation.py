"""Encoder-decoders that start from one that was trained before."""

from __future__ import annotations

from torch import nn

from peluche.errors import CheckpointError, ConfigError
from peluche.hub.resolve import open_source
from peluche.hub.run import RunDirectory
from peluche.models.pretrained_translation import PretrainedTranslationConfig
from peluche.models.registry import KINDS, parse_model
from peluche.recipes.base import Say
from peluche.tasks.weights import check_weights, embedding_rows

HEAD = "head.weight"


def described(config: PretrainedTranslationConfig) -> PretrainedTranslationConfig:
    """The same with what the model that it names is like; as it is if it says so already.

    Raises:
        ConfigError: the model reads no source and writes no target.
        CheckpointError: it is not there, or damaged.
    """
    if config.architecture is not None:
        return config
    source = open_source(config.model)
    values = source.config.get("model") or {}
    if values.get("kind") not in KINDS:
        raise ConfigError(
            "this model reads no text to write another",
            where=source.path,
            remedy="give a run of translation or span_corruption, or a T5 of transformers",
        )
    found = parse_model(values, where=str(source.path))
    weights = source.load_weights()
    rows = embedding_rows(source, weights[HEAD], source.tokenizer())
    check_weights(lambda: found.build(rows), weights, source)
    known = {"architecture": getattr(found, "resolved", found), "vocabulary": rows}
    return config.model_copy(update=known)


def start_from(
    config: PretrainedTranslationConfig, model: nn.Module, run: RunDirectory, say: Say
) -> None:
    """Give a model the weights that it starts from.

    A run that is gone on with needs no source: everything is in its state.

    Raises:
        CheckpointError: the weights are not those of the architecture, or are damaged.
    """
    if run.states():
        return
    try:
        model.load_state_dict(open_source(config.model).load_weights())
    except RuntimeError:
        raise CheckpointError(
            "the weights are not those of the model that the run's config speaks of",
            where=config.model,
            remedy="start a new run from it",
        ) from None
    say(f"the model starts from {config.model}")
