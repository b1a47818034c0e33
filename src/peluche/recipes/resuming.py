"""Settings that a run may go on with others of, since its weights do not follow from them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from peluche.errors import ConfigError
from peluche.hub.run import RunDirectory
from peluche.recipes.base import Recipe
from peluche.recipes.recipe import changed, parse_recipe

# Threads may change the last bits of numbers, as another machine does.
MAY_CHANGE = (
    "training.checkpoint_every",
    "training.log_every",
    "training.keep",
    "training.threads",
    "data.workers",
    "evaluation.sample",
    "evaluation.tokens",
)


def recipe_to_resume(run: RunDirectory, changes: Sequence[str] = ()) -> Recipe:
    """A run's recipe, with `key=value` changes for the time that it goes on now.

    Raises:
        ConfigError: a change is of something that the weights follow from, or is impossible.
    """
    where = str(run.path / "config.yaml")
    own = parse_recipe(run.config, where=where)
    if not changes:
        return own
    values = changed(copy.deepcopy(own.model_dump(mode="json")), changes)
    recipe = parse_recipe(values, where="on the command line")
    old = dict(_leaves(own.model_dump(mode="json")))
    refused = {
        key: value for key, value in changed_settings(run, recipe).items() if key not in MAY_CHANGE
    }
    if refused:
        said = "; ".join(
            f"{key} is {old.get(key)} and was to be {value}" for key, value in refused.items()
        )
        raise ConfigError(
            f"a run that goes on keeps its settings: {said}",
            where=run.path,
            remedy=f"leave the change out (these can be made: {', '.join(MAY_CHANGE)}); or train "
            f"anew: peluche train {where} --run NEW {' '.join(changes)}",
        )
    return recipe


def changed_settings(run: RunDirectory, recipe: Recipe) -> dict[str, Any]:
    """What a recipe says otherwise than a run's own."""
    own = parse_recipe(run.config, where=str(run.path / "config.yaml"))
    old, new = (dict(_leaves(one.model_dump(mode="json"))) for one in (own, recipe))
    return {key: new.get(key) for key in sorted(old | new) if old.get(key) != new.get(key)}


def _leaves(values: Mapping[str, Any], inside: str = "") -> Iterator[tuple[str, Any]]:
    """Settings as `a.b.c`, with their values."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{inside}{key}.")
        else:
            yield f"{inside}{key}", value
