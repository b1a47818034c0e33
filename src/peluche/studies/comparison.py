"""Variants of a recipe on equal terms: the same seeds, the best of some learning rates each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from peluche.config import Config, read_yaml
from peluche.recipes.base import Recipe
from peluche.recipes.recipe import load_recipe
from peluche.studies.costs import WritingTest

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
    rates: tuple[float, ...] = ()


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
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError("two variants have the same name")
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
        ConfigError: the changes do not fit the model.
    """
    own = [] if rate is None else [f"optimizer.lr={rate}"]
    suffix = "" if rate is None else f"-rate{rate:g}"
    name = f"name={variant.name}{suffix}-seed{seed}"
    given = [*config.changes, *variant.changes, *changes]
    return load_recipe(
        variant.recipe or config.recipe, [*given, *own, f"training.seed={seed}", name]
    )
