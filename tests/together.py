"""Processes as torchrun makes them, but forked after the imports, which take longer than the jobs.

`python together.py PLAN` does the jobs that `start` wrote down.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from peluche.hub.run import RunDirectory


class Job(NamedTuple):
    """A recipe to train, or a run to go on with if its folder exists.

    Attributes:
        stop_at: the step to stop after.
        failing: (process or None for all, its micro-batch from 1, how), see `FAILURES`.
    """

    folder: str
    recipe: dict[str, Any]
    stop_at: int | None = None
    failing: tuple[int | None, int, str] | None = None


def start(folder: Path, count: int, *teams: list[Job]) -> subprocess.Popen[str]:
    """So many processes for each list of jobs, which they do together; they print each step."""
    plan = folder / f"jobs-{time.monotonic_ns()}.json"
    plan.write_text(
        json.dumps([[(str(folder / name), *rest) for name, *rest in jobs] for jobs in teams])
    )
    return subprocess.Popen(
        [sys.executable, __file__, str(count), str(plan)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(folder: Path, count: int, *teams: list[Job]) -> str:
    """All jobs, to their end; what was said on the way."""
    process = start(folder, count, *teams)
    _, said = process.communicate()
    assert process.returncode == 0, said
    return said


def difference(left: Path, right: Path) -> float:
    """The largest between weights of two runs."""
    one, other = RunDirectory.open(left).load_weights(), RunDirectory.open(right).load_weights()
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def losses(path: Path) -> list[float]:
    """The loss of every step, in the order of the log."""
    return [e["loss"] for e in RunDirectory.open(path).events() if e["event"] == "step"]


def changed(values: dict, **sections: dict) -> dict:
    """Values of a recipe with other values in some of its sections."""
    return values | {name: values.get(name, {}) | changes for name, changes in sections.items()}


def _raise() -> None:
    raise ValueError("a mistake in one process")


def _no_memory() -> None:
    import torch

    raise torch.OutOfMemoryError("out of memory")


FAILURES = {
    "raise": _raise,
    "memory": _no_memory,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
}


def _fail_in(micro_batch: int, how: str) -> None:
    """Let the so-many-th micro-batch of this process fail."""
    from peluche.training.replica import Worth

    ordinary, left = Worth.forward, micro_batch

    def forward(self: Worth, batch: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            FAILURES[how]()
        return ordinary(self, batch)

    Worth.forward = forward


def _work(rank: int, jobs: list[list[Any]]) -> None:
    from peluche.recipes.recipe import parse_recipe
    from peluche.recipes.train import resume_run, train_recipe
    from peluche.training.events import Hook

    class Stop(Hook):
        def __init__(self, name, at):
            self.name, self.at = name, at

        def start(self, trainer):
            self.trainer = trainer

        def step(self, event):
            print(self.name, event.step, flush=True)
            if event.step == self.at:
                self.trainer.request_stop("the test says so")

    for folder, values, stop_at, failing in jobs:
        path = Path(folder)
        if failing is not None and failing[0] in (rank, None):
            _fail_in(*failing[1:])
        hooks = [Stop(path.name, stop_at)]
        if path.exists():
            resume_run(path, hooks=hooks)
        else:
            train_recipe(parse_recipe(values), path, hooks=hooks)


def _main(count: int, plan: Path) -> int:
    import torch.distributed.fsdp
    import torch.distributed.tensor.parallel  # noqa: F401

    import peluche.recipes.train
    import peluche.training.replica  # noqa: F401
    from peluche.errors import PelucheError

    children = []
    for jobs in json.loads(plan.read_text()):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {
            "WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "TORCHELASTIC_RUN_ID": "test",
        }
        for rank in range(count):
            children.append(os.fork())
            if children[-1] == 0:
                os.environ |= {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
                try:
                    _work(rank, jobs)
                except PelucheError as error:
                    print(f"{Path(jobs[0][0]).name} {rank}: {error}", file=sys.stderr)
                    return error.exit_code
                return 0
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


if __name__ == "__main__":
    sys.exit(_main(int(sys.argv[1]), Path(sys.argv[2])))
