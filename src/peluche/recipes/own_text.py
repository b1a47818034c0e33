"""A text of one's own in the place of a recipe's: what is held out of the one is, of the other."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peluche.data.locate import found
from peluche.data.rows import SUFFIXES
from peluche.data.text_parts import Texts
from peluche.data.text_sources import Mixture
from peluche.data.texts import text_file
from peluche.errors import ConfigError

TASKS = ("language_modelling", "masked_language_modelling", "span_corruption")
HELD_OUT = ("validation", "test")
CUTS = ("part", "slice")


def held_out(
    values: dict[str, Any], own: Mapping[str, Any], changes: Sequence[str], where: str
) -> None:
    """Where texts to learn from were changed alone, hold out of them what was of the old ones.

    Args:
        values: of a recipe of plain texts, changed; its data are changed in place.
        own: of the recipe before that.
        changes: which; as `load_recipe` takes them.
        where: for messages.

    Raises:
        ConfigError: the model would be validated on a text that it does not learn from.
    """
    data, before = values.get("data"), own.get("data")
    if (
        values.get("task") not in TASKS
        or not isinstance(data, dict)
        or not isinstance(before, dict)
    ):
        return
    keys = [change.partition("=")[0] for change in changes]
    old, new = before.get("train"), data.get("train")
    if _same(old, new) or any(key in ("data", "data.validation") for key in keys):
        return
    if any(key.startswith("data.validation.") for key in keys):
        return
    if not isinstance(new, dict):  # which the recipe's own check refuses
        return
    if "data.train" in keys or not _same(old, data.get("validation")) or "path" not in new:
        raise ConfigError(
            f"the texts to learn from were changed, and those to validate on are still "
            f"{_called(data.get('validation'))}",
            where=where,
            remedy="set data.validation too, such as data.validation="
            f"'{{kind: document, path: {new.get('path', 'FILE')}, part: [0.9, 1.0]}}'",
        )
    given = {key: new[key] for key in new if f"data.train.{key}" in keys and key not in CUTS}
    kind = given.get("kind") or _kind(str(new["path"]), new)
    for name in ("train", *HELD_OUT):
        if name == "train" or (_same(old, data.get(name)) and f"data.{name}" not in keys):
            like = {**data[name], "kind": before[name].get("kind", "lines")}
            data[name] = _of_kind(like, kind) | given | {"kind": kind}
    evaluation = values.get("evaluation")
    given_too = any(key in ("evaluation", "evaluation.sample") for key in keys)
    if not given_too and isinstance(evaluation, dict) and evaluation.get("sample") is not None:
        # The beginning of another text says nothing of this one; a new line begins any. Where
        # something has to be missing in it, there is none that fits.
        begins = values.get("task") == "language_modelling"
        evaluation["sample"] = "\n" if begins else None


def described(source: Texts | Mixture) -> str:
    """Which texts these are, and which share of them."""
    low, high = 0.0, 1.0
    for cut in CUTS:
        first, last = getattr(source, cut, (0.0, 1.0))
        low, high = max(low, first), min(high, last)
    share = "" if (low, high) == (0.0, 1.0) else f"{100 * low:.4g} to {100 * high:.4g} % of "
    name = getattr(source, "path", None) or getattr(source, "name", None)
    return f"{share}{name or f'a {source.kind}'}"  # type: ignore[union-attr]


def no_recipe(path: Path) -> ConfigError:
    """What to do with a file or folder that stands in the place of a recipe."""
    name = shlex.quote(str(path))
    if path.is_dir():
        return ConfigError(
            f"{path} is a folder, not a recipe",
            remedy=f"to go on with a run: peluche train --resume {name}; to train a language model "
            f"on the code in it: peluche train gpt data.train.path={name}",
        )
    remedy = f"to train a language model on it: peluche train gpt data.train.path={name}"
    if path.suffix.lower() in SUFFIXES:
        remedy += " data.train.text=COLUMN; for pairs or labelled texts, name it in a recipe of "
        remedy += "your own (docs/train.md)"
    return ConfigError(f"{path} is a file of data, not a recipe", remedy=remedy)


def _same(one: Any, other: Any) -> bool:
    """Whether two sources are of the same file."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return one == other
    return all(one.get(key) == other.get(key) for key in ("path", "name"))


def _called(source: Any) -> str:
    return str(source.get("path") or source.get("name")) if isinstance(source, dict) else "others"


def _kind(path: str, like: Mapping[str, Any]) -> str:
    if found(Path(path)).is_dir():
        return "code"
    kind: str = text_file(path, like)["kind"]
    return kind


def _of_kind(source: dict[str, Any], kind: Any) -> dict[str, Any]:
    """A source with its share, read as another kind; of one text the share is a part of it."""
    if source["kind"] == kind:
        return source
    cut = next((source[name] for name in CUTS if name in source), [0.0, 1.0])
    return {"part" if kind == "document" else "slice": cut}
