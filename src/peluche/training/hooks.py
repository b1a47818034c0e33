"""Hooks of every run: the log, the best weights and early stopping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from peluche.hub.run import RunDirectory
from peluche.training.events import EvaluateEvent, Hook, StepEvent
from peluche.training.loop import Trainer

LOWER_IS_BETTER = {
    "loss",
    "nll",
    "perplexity",
    "bits_per_byte",
    "ter",
    "wer",
    "next_sentence",
    "heads",
    "relations",
    "tags",
    "spans",
}


class Log(Hook):
    """Writes events to the run's log: means over `every` steps, and every evaluation."""

    def __init__(self, run: RunDirectory, every: int) -> None:
        self.run, self.every = run, every
        self._steps: list[StepEvent] = []

    def start(self, trainer: Trainer) -> None:
        self._steps = []
        self.run.log({"event": "start", "step": trainer.step, "total": trainer.total})

    def step(self, event: StepEvent) -> None:
        self._steps.append(event)
        if event.step % self.every == 0:
            self._write()

    def _write(self) -> None:
        if not self._steps:
            return
        last = self._steps[-1]
        tokens = sum(event.tokens for event in self._steps)
        seconds = sum(event.seconds for event in self._steps)
        means = {name: _mean(self._steps, name) for name in last.values}
        self.run.log(
            {
                "event": "step",
                "step": last.step,
                "epoch": last.epoch,
                **means,
                "rate": last.rate,
                "gradient_norm": last.gradient_norm,
                "tokens": tokens,
                "seconds": seconds,
            }
        )
        self._steps = []

    def evaluate(self, event: EvaluateEvent) -> None:
        self._write()
        self.run.log(
            {
                "event": "evaluate",
                "step": event.step,
                **event.metrics,
                "samples": [list(sample) for sample in event.samples],
            }
        )

    def stop(self, reason: str) -> None:
        self._write()
        self.run.log({"event": "stop", "reason": reason})


def _mean(steps: Sequence[StepEvent], name: str) -> float:
    count = sum(event.counts[name] for event in steps)
    return sum(event.values[name] * event.counts[name] for event in steps) / count if count else 0.0


class EpochMeans(Hook):
    """Logs the mean of each term and metric over every epoch, all items counting alike."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.epoch = 0
        self.last: int | None = None
        self.totals: dict[str, list[float]] = {}

    def step(self, event: StepEvent) -> None:
        if event.epoch != self.epoch:
            self._finish(event.step - 1)
            self.epoch = event.epoch
        for name, value in event.values.items():
            total = self.totals.setdefault(name, [0.0, 0.0])
            total[0] += value * event.counts[name]
            total[1] += event.counts[name]
        self.last = event.step

    def _finish(self, step: int) -> None:
        means = {name: total / count for name, (total, count) in self.totals.items() if count}
        if means:
            self.run.log({"event": "epoch", "epoch": self.epoch + 1, "step": step, **means})
        self.totals = {}

    def stop(self, reason: str) -> None:
        if reason == "finished" and self.last is not None:
            self._finish(self.last)

    def state(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "totals": self.totals}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.epoch = state.get("epoch", 0)
        self.totals = {name: list(pair) for name, pair in state.get("totals", {}).items()}


class KeepBest(Hook):
    """Saves the weights that were best by a validation metric; stops when they stay the best.

    Args:
        metric: a name in the evaluations.
        patience: evaluations without a better one before training ends; None for no limit.
    """

    def __init__(self, run: RunDirectory, metric: str, patience: int | None) -> None:
        self.run, self.metric, self.patience = run, metric, patience
        self.best: float | None = None
        self.best_step = 0
        self.waited = 0

    def start(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def evaluate(self, event: EvaluateEvent) -> None:
        value = event.metrics[self.metric]
        sign = -1.0 if self.metric in LOWER_IS_BETTER else 1.0
        if self.best is None or sign * value > sign * self.best:
            self.best, self.best_step, self.waited = value, event.step, 0
            self.run.save_weights(self.trainer.model.state_dict(), "best")
            return
        self.waited += 1
        if self.patience is not None and self.waited >= self.patience:
            self.trainer.request_stop(
                f"no better {self.metric} than {self.best:.4g} in {self.waited} evaluations"
            )

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "best_step": self.best_step, "waited": self.waited}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.best = state.get("best")
        self.best_step = state.get("best_step", 0)
        self.waited = state.get("waited", 0)
