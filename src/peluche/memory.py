"""Memory that runs out: recognised, and answered with smaller pieces of what is worked on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed

from peluche.errors import ResourceError

B = TypeVar("B")
R = TypeVar("R")
T = TypeVar("T")
# What torch says of the memory of CPUs, in an exception that is of no class of its own.
CPU_MESSAGES = ("can't allocate memory", "not enough memory")

# What helps where one text does not fit.
SHORTER = "give shorter texts, or a smaller model; if other programs use memory, stop them"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in CPU_MESSAGES)


def say_on_stderr(message: str) -> None:
    print(f"peluche: {message}", file=sys.stderr, flush=True)


class InPieces:
    """Work on rows by themselves: all at once or, once memory has run out, a piece at a time.

    What comes out does not depend on the pieces, but for rounding.

    Args:
        row: what a row is.
        remedy: where one does not fit.
        say: told when pieces become smaller.

    Attributes:
        pieces: what rows are cut into, here and from here on; doubled when memory runs out.
    """

    def __init__(self, row: str, remedy: str, say: Callable[[str], None] = say_on_stderr) -> None:
        self.row, self.remedy, self.say = row, remedy, say
        self.pieces = 1

    def of(self, rows: R, work: Callable[[R], T]) -> Iterator[tuple[R, T]]:
        """Pieces of some rows, in order, each with what `work` makes of it.

        Args:
            rows: a list, a range or an array.

        Raises:
            ResourceError: a row by itself does not fit; or this is one of several processes, which
                have to work on the same pieces.
        """
        start, whole = 0, cast("Any", rows)
        while start < len(whole):
            part = whole[start : start + -(-len(whole) // self.pieces)]
            found = self.tried(partial(work, part), len(part))
            if found is not None:
                yield part, found[0]
                start += len(part)

    def of_batch(self, batch: B, work: Callable[[B], T]) -> Iterator[T]:
        """What `work` makes of a batch, or of each of its pieces; see `pieces_of` and `of`."""
        if self.pieces == 1:
            found = self.tried(lambda: work(batch), rows_of(batch))
            if found is not None:
                yield found[0]
                return
        rows = range(rows_of(batch))
        for _, value in self.of(rows, lambda part: work(_rows_between(batch, part))):
            yield value

    def tried(self, work: Callable[[], T], most: int) -> tuple[T] | None:
        """What `work` gives; None, and smaller pieces from here on, if memory ran out.

        Args:
            most: parts that what is worked on can still be cut into.

        Raises:
            ResourceError: see `of`.
        """
        try:
            return (work(),)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if distributed.is_available() and distributed.is_initialized():
                raise ResourceError(
                    "memory ran out in one of several processes", remedy=self.remedy
                ) from error
        # Outside the handler, whose exception keeps what was computed alive.
        if most < 2:
            raise ResourceError(f"memory is too small for {self.row}", remedy=self.remedy)
        self.pieces *= 2
        self.say(f"memory ran out: batches are computed in {self.pieces} pieces from here on")
        return None


def pieces_of(batch: B, count: int) -> list[B]:
    """A batch's rows in at most `count` batches, in order.

    Args:
        batch: a dataclass whose tensors and sequences have an entry for each row, or are None, or
            are named in its `of_all_rows` and go with every piece.

    Raises:
        ResourceError: what it holds is not in rows.
    """
    rows = rows_of(batch)
    if rows < 2:
        return [batch]
    size = -(-rows // count)
    return [
        _rows_between(batch, range(first, min(first + size, rows)))
        for first in range(0, rows, size)
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


def _in_rows(batch: Any) -> dict[str, Any]:
    shared = getattr(batch, "of_all_rows", ())
    return {
        name: value
        for name, value in vars(batch).items()
        if value is not None and name not in shared
    }


def _rows_between(batch: B, rows: range) -> B:
    cut, fields = slice(rows.start, rows.stop), _in_rows(batch)
    if len({len(value) if hasattr(value, "__len__") else 0 for value in fields.values()}) > 1:
        raise no_room("a batch of this kind, which is one")
    fields = {name: value[cut] for name, value in fields.items()}
    return replace(batch, **fields)  # type: ignore[type-var]
