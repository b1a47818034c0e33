"""Building a model whose weights are read from a file: nothing is drawn, and nothing held twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

ALIGNMENT = 64
SHOWN = 3
_DRAWING: frozenset[Callable[..., Any]] = frozenset(
    {
        torch.Tensor.uniform_,
        torch.Tensor.normal_,
        torch.Tensor.zero_,
        torch.Tensor.div_,
        torch.nn.init.uniform_,
        torch.nn.init.normal_,
        torch.nn.init.trunc_normal_,
        torch.nn.init.xavier_uniform_,
        torch.nn.init.kaiming_uniform_,
        torch.nn.init.orthogonal_,
    }
)


class _Undrawn(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if func in _DRAWING:
            return args[0] if args else named["tensor"]
        return func(*args, **named)


@contextmanager
def undrawn() -> Iterator[None]:
    """Leave parameters that are made in this block as memory has them, where numbers are drawn or
    what was drawn is divided.

    For models whose weights are all loaded next: drawing takes longer than reading them, and what
    is not touched takes no memory.
    """
    with _Undrawn():
        yield


def check_fits(build: Callable[[], nn.Module], weights: Mapping[str, Tensor]) -> None:
    """Before a model is built: that it has the names and shapes of some weights. Takes no memory.

    Raises:
        ValueError: they differ, or there is no tensor of such a size.
    """
    try:
        with undrawn(), torch.device("meta"):
            skeleton = build()
    except RuntimeError as error:  # numbers of elements that do not fit 64 bits
        raise ValueError(str(error)) from None
    _compare(skeleton.state_dict(keep_vars=True), weights)


@torch.no_grad()
def fill(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Move weights into a model, which takes their memory for its own: `weights` is then empty.

    Raises:
        ValueError: names or shapes differ; `weights` are as they were.
    """
    places = model.state_dict(keep_vars=True)
    _compare(places, weights)
    taken: dict[int, Tensor] = {}
    for name in list(weights):
        place, tensor = places[name], weights.pop(name)
        if taken.get(tensor.data_ptr(), place) is place and _as_made_here(tensor, place):
            place.data = tensor
            taken[tensor.data_ptr()] = place
        else:
            place.copy_(tensor)


def _compare(places: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    faults = [f"'{name}' is missing" for name in places if name not in weights]
    for name, tensor in weights.items():
        if name not in places:
            faults.append(f"'{name}' is unexpected")
        elif tensor.shape != places[name].shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(places[name].shape)}"
            faults.append(f"'{name}' has the shape {shapes}")
    if faults:
        more = f", and {len(faults) - SHOWN} more like it" if len(faults) > SHOWN else ""
        raise ValueError(", ".join(faults[:SHOWN]) + more)


def _as_made_here(tensor: Tensor, place: Tensor) -> bool:
    """Whether it could be torch's own: where memory begins shows in the last bits of products."""
    like = (place.dtype, place.device, place.stride())
    same = (tensor.dtype, tensor.device, tensor.stride()) == like
    return same and tensor.data_ptr() % ALIGNMENT == 0
