"""The model of a run, with its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

from peluche.config import parse_as
from peluche.errors import CheckpointError
from peluche.hub.pretrained import ModelSource
from peluche.nn.starting import check_fits, fill, undrawn
from peluche.text.tokenizer import Tokenizer

M = TypeVar("M", bound=nn.Module)


def embedding_rows(run: ModelSource, embedding: Tensor, tokenizer: Tokenizer) -> int:
    """Rows of an embedding: pretrained models may have more than tokens, for round numbers.

    Raises:
        CheckpointError: there are fewer, or it is no matrix.
    """
    rows = len(embedding) if embedding.dim() == 2 else 0
    if rows < len(tokenizer):
        raise CheckpointError(
            f"the tokenizer has {len(tokenizer):,} tokens, the model only {rows:,}",
            where=run.path,
            remedy="copy model and tokenizer again, both from the same place",
        )
    return rows


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
    given = run.load_weights(weights) if state is None else state
    check_weights(build, given, run)
    with undrawn():
        model = build()
    fill(model, given)
    return model.eval()


def check_weights(
    build: Callable[[], nn.Module], weights: Mapping[str, Tensor], run: ModelSource
) -> None:
    """Before a model is built: that some weights are its own, and numbers.

    Raises:
        CheckpointError: they are not.
    """

    def damaged(what: str) -> CheckpointError:
        remedy = "copy it again from where it came from"
        return CheckpointError(what, where=run.path, remedy=remedy)

    try:
        check_fits(build, weights)
    except ValueError as error:
        raise damaged(f"the weights are not those of the model in its config: {error}") from None
    for name, tensor in weights.items():
        # A sum of finite numbers may be infinite too, but no other sum is finite.
        if tensor.is_floating_point() and not (
            tensor.float().sum().isfinite() or tensor.isfinite().all()
        ):
            raise damaged(f"the weights are damaged: '{name}' holds NaN or infinity")
