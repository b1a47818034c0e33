"""Recording what happens inside a model: named tensors, kept only while somebody looks.

Parts call `record("scores", tensor)` inside nested `scope("decoder.0")`s. Outside `tracing()`
both do nothing, so that training and generation pay one comparison for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch import Tensor


class Trace(dict[str, Tensor]):
    """Tensors by dotted name, e.g. `encoder.0.self_attention.weights`, in the order recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.path: list[str] = []

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        self.path.append(name)
        try:
            yield
        finally:
            self.path.pop()


_active: Trace | None = None


@contextmanager
def tracing() -> Iterator[Trace]:
    """Record the insides of every forward pass in this block."""
    global _active
    before, _active = _active, Trace()
    try:
        yield _active
    finally:
        _active = before


def is_tracing() -> bool:
    """Whether insides are being recorded, which makes attention take the explicit path."""
    return _active is not None


def record(name: str, tensor: Tensor) -> None:
    """Keep a detached copy of `tensor` under the current scope."""
    if _active is not None:
        _active[".".join([*_active.path, name])] = tensor.detach().clone()


def scope(name: str) -> AbstractContextManager[None]:
    """Prefix the names recorded inside with `name.`."""
    return nullcontext() if _active is None else _active.scope(name)
