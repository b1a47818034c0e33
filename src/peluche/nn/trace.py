"""Recording what happens inside a model: named tensors, kept only while somebody looks.

Parts call `record("scores", tensor)` inside nested `scope("decoder.0")`s. Outside `tracing()`
both do nothing, so that training and generation pay one comparison for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch import Tensor


class Trace(dict[str, Tensor]):
    """Tensors by dotted name, e.g. `encoder.0.self_attention.weights`, in the order recorded.

    Args:
        keep: says of a name whether to keep what goes by it; all if not given.
    """

    def __init__(self, keep: Callable[[str], bool] | None = None) -> None:
        super().__init__()
        self.path: list[str] = []
        self.keep = keep

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        self.path.append(name)
        try:
            yield
        finally:
            self.path.pop()


_active: Trace | None = None


@contextmanager
def tracing(keep: Callable[[str], bool] | None = None) -> Iterator[Trace]:
    """Record the insides of every forward pass in this block; see `Trace`."""
    global _active
    before, _active = _active, Trace(keep)
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
        whole = ".".join([*_active.path, name])
        if _active.keep is None or _active.keep(whole):
            _active[whole] = tensor.detach().clone()


def scope(name: str) -> AbstractContextManager[None]:
    """Prefix the names recorded inside with `name.`."""
    return nullcontext() if _active is None else _active.scope(name)
