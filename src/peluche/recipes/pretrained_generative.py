"""Models that start from a whole one that was trained before."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from peluche.errors import CheckpointError, ConfigError
from peluche.hub.resolve import open_source
from peluche.hub.run import RunDirectory
from peluche.models.multi_token import AHEAD, count_heads
from peluche.models.pretrained_generative import PRETRAINED, PretrainedGenerativeConfig
from peluche.recipes.base import Say
from peluche.tasks.weights import check_weights, embedding_rows

HEAD = "head.weight"
P = TypeVar("P", bound=PretrainedGenerativeConfig)


def described(config: P, ahead: int = 0) -> P:
    """The same with what the model that it names is like; as it is if it says so already.

    Args:
        ahead: heads for tokens further on that training asks of the model.

    Raises:
        ConfigError: the model is of another family, or has not so many heads.
        CheckpointError: it is not there, or damaged, or its tokenizer is not its own.
    """
    if config.architecture is not None:
        return config
    source = open_source(config.model)
    values = source.config.get("model") or {}
    started = values.get("kind") == PRETRAINED
    family = (values.get("architecture") or {} if started else values).get("kind")
    if family not in config.families:
        raise ConfigError(
            f"a model of kind '{family or '?'}' is none that this recipe can start from",
            where=source.path,
            remedy=f"give {config.takes}",
        )
    known = values if started else {"model": config.model, "architecture": values}
    found = type(config).parse(known, where=str(source.path)).resolved
    weights = source.load_weights()
    if (heads := count_heads(weights)) < ahead:
        raise ConfigError(
            f"objective.ahead is {ahead}; this model has {heads} heads that look further ahead",
            where=source.path,
            remedy=f"set objective.ahead={heads}, or start from a run of objective.ahead={ahead}",
        )
    rows = embedding_rows(source, weights[HEAD], source.tokenizer())
    own = {name: tensor for name, tensor in weights.items() if not name.startswith(AHEAD)}
    check_weights(lambda: found.build(rows), own, source)
    return config.model_copy(update={"architecture": found, "vocabulary": rows})


def start_from(
    config: PretrainedGenerativeConfig, model: nn.Module, run: RunDirectory, say: Say
) -> None:
    """Give a model the weights that it starts from.

    A run that is gone on with needs no source: everything is in its state.

    Raises:
        CheckpointError: the weights are not those of the architecture, or are damaged.
    """
    if run.states():
        return
    own = model.state_dict()
    weights = {
        name: tensor
        for name, tensor in open_source(config.model).load_weights().items()
        if name in own or not name.startswith(AHEAD)  # heads that are not asked for
    }
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        raise CheckpointError(
            "the weights are not those of the model that the run's config speaks of",
            where=config.model,
            remedy="start a new run from it",
        ) from None
    say(f"the model starts from {config.model}")
