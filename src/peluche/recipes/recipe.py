"""The root configuration: everything that a run is made from, in one YAML file."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, model_validator

from peluche.config import Config
from peluche.data.batching import BatchingConfig
from peluche.data.sources import Source
from peluche.errors import ConfigError, DataError, did_you_mean
from peluche.generation.config import DecodingConfig
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.objectives.translation import TranslationConfig
from peluche.text.tokenizer import TokenizerConfig
from peluche.training.config import TrainingConfig
from peluche.training.evaluators import EvaluationConfig
from peluche.training.optimizers import OptimizerConfig
from peluche.training.schedules import InverseSqrt, Schedule


class DataConfig(Config):
    """The corpora of a run; `test` is translated and scored once, at the end."""

    train: Source
    validation: Source
    test: Source | None = None


class Expected(Config):
    """A figure that the recipe reaches, within a tolerance; documented and checked, not used."""

    metric: str
    value: float
    tolerance: float = Field(gt=0)
    split: str = "test"
    machine: str = ""


class Recipe(Config):
    """One run, from raw text to scores."""

    name: str
    description: str = ""
    data: DataConfig
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: EncoderDecoderConfig = EncoderDecoderConfig()
    objective: TranslationConfig = TranslationConfig()
    batching: BatchingConfig = BatchingConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: Schedule = InverseSqrt()
    training: TrainingConfig
    decoding: DecodingConfig = DecodingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    expected: tuple[Expected, ...] = ()

    @model_validator(mode="after")
    def _length_given(self) -> Self:
        given = [self.training.steps, self.training.epochs, self.training.minutes]
        if sum(value is not None for value in given) != 1:
            raise ValueError(
                "training needs one of steps, epochs or minutes, and only one "
                "(set the others to null to change it)"
            )
        known = {"last", "loss", "nll", "perplexity", *self.evaluation.metrics}
        if self.training.select not in known:
            raise ValueError(
                f"training.select is '{self.training.select}', which the evaluation does not "
                f"measure; {did_you_mean(self.training.select, known)}"
            )
        return self


def shipped() -> dict[str, Path]:
    """The recipes that come with peluche, by name."""
    folder = Path(str(resources.files("peluche.recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a shipped recipe by name, or a YAML file (also a run's), with `key=value` changes.

    Raises:
        ConfigError: no such recipe, not YAML, unknown keys, impossible combinations.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        recipes = shipped()
        if name not in recipes:
            raise ConfigError(
                f"no recipe is called '{name}'",
                remedy=f"{did_you_mean(name, recipes)}; or give the path of a .yaml file",
            )
        path = recipes[name]
    values = _read_yaml(path)
    for override in overrides:
        _apply(values, override)
    return Recipe.parse(values, where=str(path))


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"there is no recipe file {path}", remedy=did_you_mean(path.stem, shipped())
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError("the recipe is not YAML", where=f"{path}: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError("the recipe is not a list of keys and values", where=path)
    # The config.yaml of a run is a recipe, but for its first line.
    values.pop("format_version", None)
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
        value = yaml.safe_load(text)
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
    place[last] = value
