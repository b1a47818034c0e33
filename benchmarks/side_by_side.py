"""Contestants in processes of their own, run in turn, so that noise falls on all of them alike."""

from __future__ import annotations

import multiprocessing
import resource
import statistics
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

# Called once in the contestant's process, after its imports; gives a function that runs one round
# and returns figures, among them "seconds".
Setup = Callable[[Mapping[str, Any]], Callable[[], Mapping[str, float]]]


class Rounds(NamedTuple):
    """Figures of one contestant, a value per round, and its peak memory over imports in MiB."""

    figures: dict[str, list[float]]
    memory: float

    def median(self, figure: str) -> float:
        return statistics.median(self.figures[figure])


def compete(
    contestants: Mapping[str, Setup], options: Mapping[str, Any], rounds: int, warm: int = 1
) -> dict[str, Rounds]:
    """Run every contestant `rounds` times, in turn; the first `warm` rounds do not count."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name, setup in contestants.items():
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(setup, dict(options), there), daemon=True)
        process.start()
        pipes[name] = here
        processes.append(process)
        _receive(here)
    found: dict[str, list[Mapping[str, float]]] = {name: [] for name in contestants}
    for _ in range(warm + rounds):
        for name, pipe in pipes.items():
            pipe.send("round")
            found[name].append(_receive(pipe))
    results = {}
    for name, pipe in pipes.items():
        pipe.send("memory")
        kept = found[name][warm:]
        figures = {key: [float(each[key]) for each in kept] for key in kept[0]}
        results[name] = Rounds(figures, _receive(pipe))
        pipe.send("stop")
    for process in processes:
        process.join()
    return results


def _receive(pipe: Connection) -> Any:
    value = pipe.recv()
    if isinstance(value, BaseException):
        raise value
    return value


def _serve(setup: Setup, options: dict[str, Any], pipe: Connection) -> None:
    try:
        preload = getattr(setup, "preload", None)
        if preload is not None:
            preload()
        before = _peak_mebibytes()
        run = setup(options)
        pipe.send("ready")
        while (order := pipe.recv()) != "stop":
            pipe.send(run() if order == "round" else _peak_mebibytes() - before)
    except Exception as error:
        pipe.send(error)


def _peak_mebibytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table(rows: list[list[str]]) -> str:
    """Columns aligned, as Markdown."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
