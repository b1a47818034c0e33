"""What can be seen of a comparison before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from peluche.errors import ConfigError, DataError, did_you_mean
from peluche.models.language_model import LanguageModel
from peluche.models.pretrained_generative import PretrainedGenerativeConfig
from peluche.nn.starting import undrawn
from peluche.recipes.base import Recipe
from peluche.recipes.packed import PackedRecipe
from peluche.studies.comparison import ComparisonConfig
from peluche.studies.costs import check_writing

OF_LANGUAGE = ("flops", "memory", "writing")
PER_TOKEN = ("nll", "perplexity")
LANGUAGE = "language_modelling"


def check_comparison(config: ComparisonConfig, recipes: Sequence[Recipe]) -> None:
    """Whether variants compare, and all that the study shows of them can be measured.

    Args:
        recipes: one of each variant.

    Raises:
        ConfigError: variants are for other tasks or scored on other data; the task is not scored
            by the metric, or a column is not of its models; an optimizer cannot be had.
        DataError: what they are trained or scored on cannot be read.
    """
    for recipe in recipes:
        _check_alike(config, recipes[0], recipe)
    for recipe in recipes:
        _check_model(config, recipe)
        _check_readable(recipe)
        known = recipe.scored()
        if config.metric not in known:
            raise ConfigError(
                f"{recipe.name} is not scored by {config.metric}",
                where="metric",
                remedy=did_you_mean(config.metric, known) if known else "name data to score it on",
            )


def _check_alike(config: ComparisonConfig, first: Recipe, recipe: Recipe) -> None:
    if recipe.task != first.task:
        raise ConfigError(
            f"{recipe.name} is for {recipe.task} and {first.name} for {first.task}",
            remedy="compare variants of one task",
        )
    asked = [column for column in config.columns if column in OF_LANGUAGE]
    if asked and recipe.task != LANGUAGE:
        raise ConfigError(
            f"{', '.join(asked)} can be measured of language models only, and "
            f"{recipe.name} is for {recipe.task}",
            remedy="leave them out of columns",
        )
    if recipe.tested() != first.tested():
        raise ConfigError(
            f"{recipe.name} and {first.name} are scored on different data",
            remedy="give all variants the same data.test, or the same data.validation",
        )
    if not isinstance(recipe, PackedRecipe) or config.metric not in PER_TOKEN:
        return
    assert isinstance(first, PackedRecipe), "recipes of one task are of one class"
    if _cut_by(recipe) != _cut_by(first):
        raise ConfigError(
            f"{recipe.name} and {first.name} cut texts into other tokens, so that their "
            f"{config.metric} does not compare",
            remedy="give all variants the same tokenizer, and what it is learnt from; or, of "
            "language models, set metric: bits_per_byte",
        )


def _cut_by(recipe: PackedRecipe) -> tuple[Any, ...]:
    """What a recipe's tokens follow from."""
    if isinstance(recipe.model, PretrainedGenerativeConfig):
        return (recipe.model.model,)
    tokenizer = recipe.learnt_tokenizer()
    if tokenizer.kind == "byte":
        return (tokenizer,)
    return tokenizer, recipe.data.train, recipe.data.vocabulary_from


def _check_readable(recipe: Recipe) -> None:
    """Whether there is an example in each of a recipe's sources."""
    data: Any = recipe.data  # type: ignore[attr-defined]
    for part in ("train", "validation", "test"):
        source = getattr(data, part, None)
        if source is not None and next(iter(source.read()), None) is None:
            raise DataError(
                "there is no example",
                where=f"data.{part} of {recipe.name}: {source}",
                remedy="check the file, and which part of it is read",
            )


def _check_model(config: ComparisonConfig, recipe: Recipe) -> None:
    """Whether there is such an optimizer, and writing can be timed with the model.

    What an optimizer asks of weights is seen of language models only.
    """
    model: nn.Module = nn.Linear(1, 1)
    if recipe.task == LANGUAGE:
        with undrawn():
            model = recipe.completed().model.build(2)  # type: ignore[attr-defined]
    recipe.optimizer.build(model)
    if isinstance(model, LanguageModel) and "writing" in config.columns:
        check_writing(recipe.name, model, config.writing)
