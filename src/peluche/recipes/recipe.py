"""Recipes by name or file, with changes."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from peluche.config import parse_yaml, read_yaml
from peluche.errors import ConfigError, did_you_mean
from peluche.models.registry import DEFAULT_KIND, KINDS
from peluche.recipes.answering import AnsweringRecipe
from peluche.recipes.base import Recipe
from peluche.recipes.classification import ClassificationRecipe
from peluche.recipes.embedding import EmbeddingRecipe
from peluche.recipes.language import LanguageRecipe
from peluche.recipes.masked import MaskedRecipe
from peluche.recipes.own_text import held_out, no_recipe
from peluche.recipes.sentences import ConstituencyRecipe, DependencyRecipe, TaggingRecipe
from peluche.recipes.shipped import shipped
from peluche.recipes.span_corruption import SpanCorruptionRecipe
from peluche.recipes.translation import SummarisationRecipe, TranslationRecipe
from peluche.recipes.word_vectors import WordVectorsRecipe

RECIPES: dict[str, type[Recipe]] = {
    "translation": TranslationRecipe,
    "summarisation": SummarisationRecipe,
    "classification": ClassificationRecipe,
    "tagging": TaggingRecipe,
    "dependency_parsing": DependencyRecipe,
    "constituency_parsing": ConstituencyRecipe,
    "word_vectors": WordVectorsRecipe,
    "language_modelling": LanguageRecipe,
    "masked_language_modelling": MaskedRecipe,
    "embedding": EmbeddingRecipe,
    "question_answering": AnsweringRecipe,
    "span_corruption": SpanCorruptionRecipe,
}
DEFAULT_TASK = "translation"


def parse_recipe(values: Mapping[str, Any], *, where: str | None = None) -> Recipe:
    """The recipe that plain values describe; without a `task` it is a translation.

    Raises:
        ConfigError: unknown task, unknown keys, impossible combinations.
    """
    task = values.get("task", DEFAULT_TASK)
    if task not in RECIPES:
        raise ConfigError(
            f"no recipe is for the task '{task}'",
            where=where,
            remedy=did_you_mean(str(task), RECIPES),
        )
    return RECIPES[task].parse(values, where=where)


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of all recipes."""
    from pydantic import TypeAdapter

    union: Any = None
    for recipe in RECIPES.values():
        union = recipe if union is None else union | recipe
    return TypeAdapter(union).json_schema()


def load_recipe(name: str, overrides: Sequence[str] = (), changed_in: str | None = None) -> Recipe:
    """Read a shipped recipe by name, or a YAML file (also a run's), with `key=value` changes.

    Another text to learn from is validated on a part of its own; see `held_out`.

    Args:
        changed_in: where the changes stand, for messages.

    Raises:
        ConfigError: no such recipe, not YAML, unknown keys, impossible combinations.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        recipes = shipped()
        if name not in recipes and path.exists():
            raise no_recipe(path)
        if name not in recipes:
            raise ConfigError(
                f"no recipe is called '{name}'",
                remedy=f"{did_you_mean(name, recipes)}; or give the path of a .yaml file",
            )
        path = recipes[name]
    values = read_yaml(path, "recipe", known=shipped())
    # The config.yaml of a run is a recipe, but for its first line.
    values.pop("format_version", None)
    own = copy.deepcopy(values)
    changed(values, overrides)
    try:
        held_out(values, own, overrides, where=str(path))
        return parse_recipe(values, where=str(path))
    except ConfigError as error:
        if not overrides or error.where != str(path):
            raise
        # Where the file alone is a recipe, what is wrong was changed.
        parse_recipe(own, where=str(path))
        where = changed_in or f"the changes of {path}"
        raise ConfigError(error.what, where=where, remedy=error.remedy) from None


def changed(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Nested values with `a.b.c=value` changes, which are made in place.

    A change of `model.kind` comes first and drops the settings of the former kind.

    Raises:
        ConfigError: a change is not written like that.
    """
    for override in sorted(overrides, key=lambda text: not text.startswith("model.kind=")):
        _apply(values, override)
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    """Set `a.b.c=value` in nested values; the value is read as YAML."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(
            f"'{override}' is not a change of the recipe",
            remedy="write key=value, such as model.layers=6",
        )
    try:
        value = parse_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"the value of '{override}' is not YAML", where=str(error)) from None
    if isinstance(value, str):
        # YAML 1.1 reads 1e-3 as text; people mean a number.
        with contextlib.suppress(ValueError):
            value = float(value)
    *parents, last = key.split(".")
    place = values
    for parent in parents:
        inner = place.get(parent)
        if inner is None:
            inner = place[parent] = {}
        if not isinstance(inner, dict):
            raise ConfigError(f"'{parent}' in '{override}' has no keys inside", where=key)
        place = inner
    if key == "model.kind" and value in KINDS and place.get("kind", DEFAULT_KIND) != value:
        place.clear()
    place[last] = value
