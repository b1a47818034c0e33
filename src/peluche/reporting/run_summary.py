"""What a run's log says, in one record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peluche.hub.run import RunDirectory

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Phase:
    """A phase of the run; `times` is over 1 where a resumed run went through it again."""

    name: str
    seconds: float
    times: int


@dataclass(frozen=True)
class Sample:
    """What the model made of one sentence from one evaluation to another, `first` to `last`."""

    first: int
    last: int
    translation: str


@dataclass(frozen=True)
class RunSummary:
    """A log, sorted; whatever was not logged is None or empty.

    Attributes:
        machines: in order, each once.
        starts: how often training was started or resumed.
        total: planned optimizer steps.
        reason: why training stopped; None while it runs, and if it was killed.
        steps: means over some steps each, in order.
        evaluations: metrics on the validation set, in order.
        rollbacks: returns to an earlier state because the loss was not a number.
        test: the last scores of the test set.
        efficiency: what the run made of its machine between evaluations, in order.
        forecast: the loss that was predicted, and the one that was reached.
    """

    machines: tuple[str, ...]
    starts: int
    parameters: int | None
    vocabulary: int | None
    total: int | None
    reason: str | None
    phases: tuple[Phase, ...]
    steps: tuple[Event, ...]
    evaluations: tuple[Event, ...]
    rollbacks: tuple[Event, ...]
    test: Event | None
    efficiency: tuple[Event, ...] = ()
    forecast: Event | None = None

    @property
    def step(self) -> int:
        """The last optimizer step in the log; 0 before the first."""
        return max((event["step"] for event in (*self.steps, *self.evaluations)), default=0)

    @property
    def seconds(self) -> float:
        """Time inside optimizer steps, in seconds."""
        return math.fsum(event["seconds"] for event in self.steps)

    @property
    def tokens(self) -> int:
        """Target tokens trained on, counting repeats."""
        return sum(event["tokens"] for event in self.steps)

    @property
    def flops(self) -> float:
        """Floating-point operations of all steps, as the run counts them; 0 if it does not."""
        return math.fsum(event["flops"] for event in self.efficiency)

    @property
    def mfu(self) -> float | None:
        """Their share of what the machine could have done in the time (see `Efficiency`)."""
        possible = math.fsum(event["flops"] / event["mfu"] for event in self.efficiency)
        return self.flops / possible if possible else None

    @property
    def peak_bytes(self) -> int | None:
        """The most memory that training had."""
        return max((event["peak_bytes"] for event in self.efficiency), default=None)

    def samples(self) -> dict[str, list[Sample]]:
        """By sentence, its translations as the model learned; equal neighbours are one."""
        found: dict[str, list[Sample]] = {}
        for event in self.evaluations:
            for source, translation in event.get("samples", ()):
                history = found.setdefault(source, [])
                step = event["step"]
                if history and history[-1].translation == translation:
                    history[-1] = Sample(history[-1].first, step, translation)
                else:
                    history.append(Sample(step, step, translation))
        return found


def summarise(run: RunDirectory) -> RunSummary:
    """Sort a run's events.

    Raises:
        CheckpointError: when the log cannot be read.
    """
    events = list(run.events())

    def of(kind: str) -> list[Event]:
        return [event for event in events if event.get("event") == kind]

    model = _last(of("model"))
    start = _last(of("start"))
    return RunSummary(
        machines=tuple(dict.fromkeys(event["machine"] for event in of("machine"))),
        starts=len(of("machine")),
        parameters=model and model["parameters"],
        vocabulary=model and model["vocabulary"],
        total=start and start["total"],
        reason=_reason(events),
        phases=_phases(of("phase")),
        steps=tuple(of("step")),
        evaluations=tuple(of("evaluate")),
        rollbacks=tuple(of("rollback")),
        test=_last(of("test")),
        efficiency=tuple(of("efficiency")),
        forecast=_last(of("forecast")),
    )


def _last(events: Sequence[Event]) -> Any:
    return events[-1] if events else None


def _reason(events: Sequence[Event]) -> str | None:
    """Why the last start of training ended."""
    for event in reversed(events):
        if event.get("event") == "stop":
            return str(event["reason"])
        if event.get("event") == "machine":
            break
    return None


def _phases(events: Sequence[Event]) -> tuple[Phase, ...]:
    """Phases by name, in order of first appearance."""
    seconds: dict[str, list[float]] = {}
    for event in events:
        seconds.setdefault(event["name"], []).append(event["seconds"])
    return tuple(Phase(name, math.fsum(all_), len(all_)) for name, all_ in seconds.items())
