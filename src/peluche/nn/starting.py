"""Building a model whose weights are read from a file: what it would start from is not drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_DRAWING: frozenset[Callable[..., Any]] = frozenset(
    {
        torch.Tensor.uniform_,
        torch.Tensor.normal_,
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
    """Leave parameters that are made in this block as memory has them, where numbers are drawn.

    For models whose weights are all loaded next; drawing takes longer than reading them.
    """
    with _Undrawn():
        yield
