"""The processes that share a run: one alone, or those that `torchrun` started together.

Every process calls the same functions in the same order; where they exchange something, all wait
for it. The first one speaks, writes and evaluates for all.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from peluche.errors import ConfigError, PeerError

if TYPE_CHECKING:
    from torch.distributed import Store

T = TypeVar("T")
# Reading and encoding a large corpus is done by the first process while the others wait.
PATIENCE = timedelta(hours=12)
# All are started at about the same time, on machines that may be busy.
JOINING = timedelta(minutes=10)
# What gloo and NCCL say when the other end of a connection is gone.
GONE = (
    "Connection closed",
    "Connection reset",
    "Broken pipe",
    "Timed out waiting",
    "ncclRemoteError",
)


class Processes:
    """One process alone: what it gives to all is what it has itself.

    Attributes:
        rank: number of this process, from 0.
        count: how many there are.
        team: so many processes in a row compute each batch together (tensor parallelism).
    """

    rank, count, team = 0, 1, 1

    @property
    def first(self) -> bool:
        """Whether this is the process that speaks and writes."""
        return self.rank == 0

    def in_teams(self, size: int) -> Processes:
        """The same processes, in teams of this size; one alone is its own team.

        Raises:
            ConfigError: they do not divide into such teams.
        """
        return self

    def share(self, items: Sequence[T]) -> list[T]:
        """This process's part of the micro-batches of a step.

        Raises:
            ConfigError: they cannot be dealt out evenly.
        """
        return list(items)

    def total(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Sums over what every team has; names are the same in all processes."""
        return dict(numbers)

    def any(self, reason: str | None) -> str | None:
        """The first process's reason that has one, the same for all."""
        return reason

    def agree(self, value: T) -> T:
        """The first process's value."""
        return value

    def everyone(self, value: T) -> list[T]:
        """What each process has, in order."""
        return [value]

    def wait(self) -> None:
        """Until all are here."""


ALONE = Processes()


class SeveralProcesses(Processes):
    """Those that `torchrun` started, joined by `torch.distributed`."""

    def __init__(self, rank: int, count: int, team: int = 1) -> None:
        self.rank, self.count, self.team = rank, count, team

    def in_teams(self, size: int) -> Processes:
        if self.count % size:
            raise ConfigError(
                f"{self.count} processes do not make teams of {size}",
                where="training.parallel.tensor",
                remedy=f"start a multiple of {size} processes, or set training.parallel.tensor=1",
            )
        return SeveralProcesses(self.rank, self.count, size)

    def share(self, items: Sequence[T]) -> list[T]:
        teams = self.count // self.team
        if len(items) % teams:
            raise ConfigError(
                f"the {len(items)} micro-batches of a step cannot be dealt to {teams} "
                "processes or teams of them",
                where="training.accumulate",
                remedy=f"set training.accumulate={-(-len(items) // teams) * teams}, and "
                "batching.tokens so much smaller that a step is as large as it was",
            )
        return list(items[self.rank // self.team :: teams])

    def total(self, numbers: Mapping[str, float]) -> dict[str, float]:
        import torch
        from torch import distributed

        sums = torch.tensor(list(numbers.values()), dtype=torch.float64, device=_device())
        distributed.all_reduce(sums)
        return dict(zip(numbers, (sums / self.team).tolist(), strict=True))

    def any(self, reason: str | None) -> str | None:
        if not self.total({"reasons": float(reason is not None)})["reasons"]:
            return None
        return next(one for one in self.everyone(reason) if one is not None)

    def agree(self, value: T) -> T:
        from torch import distributed

        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def everyone(self, value: T) -> list[T]:
        from torch import distributed

        box: list[Any] = [None] * self.count
        distributed.all_gather_object(box, value)
        return box

    def wait(self) -> None:
        from torch import distributed

        distributed.barrier()


def in_turn(processes: Processes, work: Callable[[], T]) -> T:
    """Work that the first process does before the others, who may find it done."""
    if not processes.first:
        processes.wait()
    found = work()
    if processes.first:
        processes.wait()
    return found


@contextmanager
def needing_others() -> Iterator[None]:
    """Around work that cannot go on when another process has ended.

    Raises:
        PeerError: one has.
    """
    try:
        yield
    except RuntimeError as error:
        from torch import distributed

        gone = isinstance(error, distributed.DistError) or any(s in str(error) for s in GONE)
        if joined().count == 1 or not gone:
            raise
        raise PeerError(
            "another process of this run has ended, or cannot be reached",
            where=f"process {joined().rank} of {joined().count}, numbered from 0",
            remedy="see what the other one said; the last state that was saved is intact, go on "
            "from it with as many processes as you like: peluche train --resume RUN",
        ) from error


@cache
def joined() -> Processes:
    """The processes that this one belongs to, once it has joined them.

    Raises:
        PeerError: they did not all come.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or "TORCHELASTIC_RUN_ID" not in os.environ:
        return ALONE
    import torch
    from torch import distributed

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    rank, store = int(os.environ["RANK"]), _meet(count)
    distributed.init_process_group(
        backend, store=store, rank=rank, world_size=count, timeout=PATIENCE
    )
    atexit.register(distributed.destroy_process_group)
    return SeveralProcesses(rank, count)


def _meet(count: int) -> Store:
    """What all processes can read and write, once all have come.

    Raises:
        PeerError: some have not.
    """
    from torch import distributed

    try:
        store, rank, _ = next(distributed.rendezvous("env://", timeout=JOINING))
        store.set(f"here/{rank}", "")
        store.wait([f"here/{other}" for other in range(count)], JOINING)
    except distributed.DistError:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise PeerError(
            f"the {count} processes of this run did not meet within {JOINING}",
            where=f"process {os.environ['RANK']}, numbered from 0, at {place}",
            remedy="see that all are started and reach that address; torchrun takes it from "
            "--master-addr and --master-port, or --rdzv-endpoint",
        ) from None
    return store


def _device() -> str:
    """Where numbers have to be to be exchanged between all processes."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
