"""Memory that runs out: recognised, and answered with smaller pieces of a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from peluche.errors import ResourceError

B = TypeVar("B")
# What torch says of the memory of CPUs, in an exception that is of no class of its own.
CPU_MESSAGES = ("can't allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in CPU_MESSAGES)


def pieces_of(batch: B, count: int) -> list[B]:
    """A batch's rows in at most `count` batches, in order.

    Args:
        batch: a dataclass whose tensors and sequences have an entry for each row, or are None, or
            are named in its `of_all_rows` and go with every piece.

    Raises:
        ResourceError: what it holds is not in rows.
    """
    shared = getattr(batch, "of_all_rows", ())
    fields = {
        name: value
        for name, value in vars(batch).items()
        if value is not None and name not in shared
    }
    lengths = {len(value) if hasattr(value, "__len__") else 0 for value in fields.values()}
    rows = lengths.pop()
    if lengths:
        raise no_room("a batch of this kind, which is one")
    if rows < 2:
        return [batch]
    size = -(-rows // count)
    cuts = [slice(first, first + size) for first in range(0, rows, size)]
    return [
        replace(batch, **{name: value[cut] for name, value in fields.items()})  # type: ignore[type-var]
        for cut in cuts
    ]


def rows_of(batch: Any) -> int:
    """How many rows a batch has."""
    shared = getattr(batch, "of_all_rows", ())
    found = {name: value for name, value in vars(batch).items() if name not in shared}
    return max(len(value) for value in found.values() if isinstance(value, Tensor))


def no_room(what: str) -> ResourceError:
    """The error of a step that does not fit however it is cut."""
    return ResourceError(
        f"memory is too small for a step with {what}",
        remedy="shorten sequences (batching), make the model smaller, or set "
        "training.checkpointing=true; if other programs use memory, stop them",
    )
