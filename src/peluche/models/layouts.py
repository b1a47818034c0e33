"""What the layouts of other libraries have in common: what they can express, and where weights lie.

A layout is a table. Each `Entry` says which of our parameters are which of theirs, and how one
becomes the other; the same table serves both directions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from peluche.errors import CheckpointError, ConfigError


@runtime_checkable
class Expressive(Protocol):
    """A layout, as far as the search for one is concerned.

    Attributes:
        architecture: what it is called.
        can: the values of our settings that it can express; settings not named are free.
    """

    @property
    def architecture(self) -> str: ...

    @property
    def can(self) -> Mapping[str, tuple[object, ...]]: ...


L = TypeVar("L", bound=Expressive)


def find_layout(
    config: Any,
    layouts: Sequence[L],
    usual: Mapping[str, tuple[object, ...]] = {},
    *,
    kind: str = "class of transformers",
    section: str = "model",
) -> L:
    """The first layout that expresses a model exactly.

    Args:
        usual: values that the advice does not list where a layout wants them.
        kind: what a layout is, for messages.
        section: where the settings stand in a recipe.

    Raises:
        ConfigError: when none does, with the settings that stand in the way.
    """

    def distance(layout: L) -> tuple[bool, int]:
        found = obstacles(config, layout)
        return "norm_placement" in found, len(found)

    layout = min(layouts, key=distance)
    found = obstacles(config, layout)
    if not found:
        return layout
    raise ConfigError(
        f"{layout.architecture}, the nearest {kind}, cannot express "
        + ", ".join(f"{section}.{key}={getattr(config, key)}" for key in found),
        where="the run's config",
        remedy="train with settings that can be exported: "
        + "; or ".join(_allowed(layout, usual) for layout in layouts),
    )


def obstacles(config: Any, layout: Expressive) -> list[str]:
    """The settings of a model that a layout cannot express."""
    return [key for key, values in layout.can.items() if getattr(config, key) not in values]


def _allowed(layout: Expressive, usual: Mapping[str, tuple[object, ...]]) -> str:
    settings = ", ".join(
        f"{key} {'|'.join(dict.fromkeys(map(str, values)))}"
        for key, values in layout.can.items()
        if values != usual.get(key)
    )
    return f"{layout.architecture} ({settings})"


class Conversion(NamedTuple):
    """How some tensors become others, and back."""

    read: Callable[[Sequence[Tensor]], Sequence[Tensor]]
    write: Callable[[Sequence[Tensor]], Sequence[Tensor]]


def _turned(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    return [tensor.t().contiguous() if tensor.dim() == 2 else tensor for tensor in tensors]


def _cut(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    return _turned(tensors[0].chunk(3, dim=-1))


def _joined(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    return [torch.cat(list(_turned(tensors)), dim=-1)]


SAME = Conversion(lambda tensors: tensors, lambda tensors: tensors)
# Ours has two names for it.
TIED = Conversion(lambda tensors: [tensors[0]] * 2, lambda tensors: [tensors[0]])
# GPT-2 keeps matrices as (in, out), and query, key and value side by side.
TRANSPOSED = Conversion(_turned, _turned)
FUSED = Conversion(_cut, _joined)
# Gemma's norms multiply by one plus their weights.
FROM_ONE = Conversion(
    lambda tensors: [tensor + 1 for tensor in tensors],
    lambda tensors: [tensor - 1 for tensor in tensors],
)
# A matrix of each expert, which are one tensor here.
STACKED = Conversion(
    lambda tensors: [torch.stack(list(tensors))], lambda tensors: list(tensors[0].unbind())
)


def _the_one(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    first, second = tensors
    require(torch.equal(first, second), "its gated layers are no squares: gate and up differ")
    return [first]


# relu(x)² is relu(x) · x: a gated layer whose gate is its other matrix.
TWICE = Conversion(_the_one, lambda tensors: [tensors[0], tensors[0].clone()])


class Entry(NamedTuple):
    """Which of our parameters are which of theirs."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    conversion: Conversion = SAME


def read_entries(
    entries: Sequence[Entry], tensors: Mapping[str, Tensor], where: object
) -> dict[str, Tensor]:
    """Our state dict from their tensors, each of which is asked for once.

    Raises:
        CheckpointError: a tensor is missing, or no parameter can be made of it.
    """
    missing = [name for entry in entries for name in entry.theirs if name not in tensors]
    if missing:
        raise CheckpointError(
            f"the weights lack '{missing[0]}'", where=where, remedy="get the model again"
        )
    state: dict[str, Tensor] = {}
    for entry in entries:
        # Outside: what goes wrong with reading a file says nothing of shapes.
        given = [tensors[name] for name in entry.theirs]
        try:
            found = entry.conversion.read(given)
        except (RuntimeError, ValueError, IndexError) as error:
            raise CheckpointError(
                f"'{entry.theirs[0]}' is of another shape than the config says ({error})",
                where=where,
                remedy="get the model again",
            ) from None
        state |= dict(zip(entry.ours, found, strict=True))
    return state


def require_held(tensors: Collection[str], where: object, **counts: int) -> None:
    """Before parameters are listed: there is a tensor for each layer, or expert, at least.

    Args:
        tensors: by name, or their names.
        counts: how many the config says there are, by what they are called.

    Raises:
        CheckpointError: there are fewer.
    """
    for name, count in counts.items():
        if count > len(tensors):
            raise CheckpointError(
                f"its config says {name}={count:,}, but it has {len(tensors):,} tensors in all",
                where=where,
                remedy="get the model again",
            )


def write_entries(entries: Iterable[Entry], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their tensors from our state dict."""
    tensors: dict[str, Tensor] = {}
    for entry in entries:
        written = entry.conversion.write([state[name] for name in entry.ours])
        tensors |= dict(zip(entry.theirs, written, strict=True))
    return tensors


def known(table: Mapping[str, str], theirs: Mapping[str, Any], key: str) -> str:
    """What a setting of theirs is called here.

    Raises:
        ConfigError: the table does not have it.
    """
    require(theirs[key] in table, f"{key} is '{theirs[key]}'")
    return table[theirs[key]]


def named(table: Mapping[str, str], ours: str) -> str:
    """What a setting of ours is called there."""
    return next(theirs for theirs, own in table.items() if own == ours)


def require(fits: object, reason: str) -> None:
    """Raise ConfigError, with the reason, if what is to be read or written has no equal."""
    if not fits:
        raise ConfigError(
            f"this model has no equal on the other side: {reason}",
            remedy="use the model where it was made, or one without this setting",
        )
