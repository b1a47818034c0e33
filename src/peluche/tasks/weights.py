"""The model of a run, with its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor, nn

from peluche.config import parse_as
from peluche.errors import CheckpointError
from peluche.hub.pretrained import ModelSource
from peluche.nn.starting import fill, undrawn
from peluche.text.tokenizer import Tokenizer

M = TypeVar("M", bound=nn.Module)


def embedding_rows(run: ModelSource, embedding: Tensor, tokenizer: Tokenizer) -> int:
    """Rows of an embedding: pretrained models may have more than tokens, for round numbers.

    Raises:
        CheckpointError: there are fewer.
    """
    if len(embedding) < len(tokenizer):
        raise CheckpointError(
            f"the tokenizer has {len(tokenizer):,} tokens, the model only {len(embedding):,}",
            where=run.path,
            remedy="copy model and tokenizer again, both from the same place",
        )
    return len(embedding)


def model_config(run: ModelSource, kind: Any) -> Any:
    """The configuration of a run's model.

    Raises:
        CheckpointError: there is none.
        ConfigError: it is not of this kind.
    """
    return parse_as(kind, model_values(run), where=str(run.path / "config.yaml"))


def model_values(run: ModelSource) -> dict[str, Any]:
    """The configuration of a run's model, as it stands in config.yaml.

    Raises:
        CheckpointError: there is none.
    """
    config = run.config
    if "model" not in config:
        raise CheckpointError(
            "this run's config has no 'model'",
            where=run.path / "config.yaml",
            remedy="use the folder of a run that trains a model",
        )
    values: dict[str, Any] = config["model"]
    return values


def filled(
    build: Callable[[], M],
    run: ModelSource,
    weights: str,
    state: dict[str, Tensor] | None = None,
) -> M:
    """A model with the run's weights of that name, or those of `state`, ready to be asked.

    Raises:
        CheckpointError: they are absent or damaged, or another model's.
    """
    with undrawn():
        model = build()
    try:
        fill(model, run.load_weights(weights) if state is None else state)
    except ValueError as error:
        raise CheckpointError(
            f"the weights are not those of the model in config.yaml: {error}",
            where=run.path / f"{weights}.safetensors",
            remedy="copy the run again from where it was trained",
        ) from None
    return model.eval()
