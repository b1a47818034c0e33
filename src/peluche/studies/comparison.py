"""Variants of a recipe on equal terms: the same seeds, the best of some learning rates each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from peluche.config import Config, read_yaml
from peluche.errors import ConfigError
from peluche.recipes.base import Recipe
from peluche.recipes.recipe import load_recipe
from peluche.studies.costs import WritingTest
from peluche.studies.runs import with_own

HERE = Path(__file__).parent / "comparisons"
Column = Literal["parameters", "flops", "memory", "writing", "reading"]


class Variant(Config):
    """One of the things that are compared.

    Attributes:
        name: begins those of its run directories.
        recipe: where it is not the study's.
        changes: `key=value`, made to the recipe.
        rates: learning rates that are tried with the first seed; the best is kept.
    """

    name: str = Field(pattern=r"^\w[\w.-]*$")
    title: str
    about: str = ""
    recipe: str | None = None
    changes: tuple[str, ...] = ()
    rates: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = ()

    @field_validator("rates")
    @classmethod
    def _rates_differ(cls, rates: tuple[float, ...]) -> tuple[float, ...]:
        if len({_shown(rate) for rate in rates}) < len(rates):
            raise ValueError("two rates are the same in six digits, which name their runs")
        return rates


class ComparisonConfig(Config):
    """A comparison; differences are from the first variant.

    Attributes:
        recipe, changes: what all variants share.
        metric: of the task, on the test set, or on the validation set where there is none.
        columns: what else the table shows. parameters; flops: a token's share of a forward pass;
            memory: bytes per token read; writing: tokens/s, in turn; reading: tokens/s in training.
    """

    title: str
    about: str = ""
    recipe: str
    changes: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = Field(min_length=2)
    seeds: int = Field(3, gt=0)
    metric: str = "nll"
    columns: tuple[Column, ...] = ("parameters",)
    writing: WritingTest = WritingTest()

    @model_validator(mode="after")
    def _names_differ(self) -> ComparisonConfig:
        runs: set[str] = set()
        for variant in self.variants:
            own = {run_name(variant, rate) for rate in variant.rates or (None,)}
            if runs & own:
                raise ValueError(f"two variants have runs of the same name, {min(runs & own)}")
            runs |= own
        if len(set(self.columns)) < len(self.columns):
            raise ValueError("a column is asked for twice")
        return self


def shipped() -> dict[str, Path]:
    """The comparisons that come with peluche, by name."""
    return {path.stem: path for path in sorted(HERE.glob("*.yaml"))}


def load_comparison(path: Path) -> ComparisonConfig:
    """Read a comparison.

    Raises:
        ConfigError: there is no such file, or it describes none.
        DataError: it cannot be read.
    """
    values = read_yaml(path, "comparison", known=shipped())
    return ComparisonConfig.parse(values, where=str(path))


def recipe_of(
    config: ComparisonConfig,
    variant: Variant,
    changes: Sequence[str],
    seed: int,
    rate: float | None = None,
) -> Recipe:
    """The recipe of one trial; `rate` is None where the recipe's own is taken.

    Raises:
        ConfigError: the changes do not fit the model, or are of what the study itself sets; or a
            model to start from is none that the recipe can start from.
        CheckpointError: it is not there, or damaged.
    """
    own: dict[str, object] = {
        "training.seed": seed,
        "name": f"{run_name(variant, rate)}-seed{seed}",
    }
    if rate is not None:
        own["optimizer.lr"] = rate
    try:
        given = with_own([*config.changes, *variant.changes, *changes], own)
        return load_recipe(variant.recipe or config.recipe, given).completed()
    except ConfigError as error:
        where = f"variant {variant.name}" + (f", {error.where}" if error.where else "")
        raise ConfigError(error.what, where=where, remedy=error.remedy) from None


def run_name(variant: Variant, rate: float | None) -> str:
    """What run directories of a variant are called, but for the seed."""
    return variant.name if rate is None else f"{variant.name}-rate{_shown(rate)}"


def _shown(rate: float) -> str:
    return f"{rate:g}"
