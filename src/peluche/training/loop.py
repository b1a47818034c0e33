"""The one loop: data → objective → backward → step, and events for everything else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch

from peluche.data.batching import Position
from peluche.errors import CheckpointError, NumericsError
from peluche.hub.checkpoint import SavedState
from peluche.hub.run import RunDirectory
from peluche.objectives.base import SteppedObjective, UpdatingObjective
from peluche.processes import ALONE, Processes
from peluche.training.averaging import Averaging
from peluche.training.budget import total_steps
from peluche.training.config import TrainingConfig
from peluche.training.events import EvaluateEvent, Hook, StepEvent
from peluche.training.gradient import Gradient
from peluche.training.optimizers import Combined
from peluche.training.replica import Replica
from peluche.training.schedules import Schedule
from peluche.training.signals import StopSignals
from peluche.training.states import (
    kept_random_state,
    load_optimizer_tensors,
    optimizer_tensors,
    parameter_names,
    random_states,
    set_random_state,
)
from peluche.training.totals import Diverged, Totals

MAX_ROLLBACKS = 3


class Stream(Protocol):
    """An endless source of batches that can start anywhere."""

    def batches(self, position: Position) -> Iterator[tuple[Any, Position]]: ...

    def batches_per_epoch(self) -> int: ...


class Evaluator(Protocol):
    """Scores the model as it is now."""

    def __call__(self, step: int) -> EvaluateEvent: ...


class Trainer:
    """Trains a model in a run directory; can be stopped and resumed at any step.

    Args:
        replica: the model as this process trains it, with what a batch is worth.
        optimizer: over what `replica` trains.
        stream: where batches come from.
        evaluator: scores the model every `evaluate_every` steps and at the end.
        hooks: hear of every event; of the first process only.
        say: one-line messages for people.
        processes: those that train the same model.
    """

    def __init__(
        self,
        run: RunDirectory,
        replica: Replica,
        stream: Stream,
        optimizer: torch.optim.Optimizer | Combined,
        schedule: Schedule,
        config: TrainingConfig,
        evaluator: Evaluator,
        hooks: Sequence[Hook] = (),
        say: Callable[[str], None] = lambda message: None,
        processes: Processes = ALONE,
    ) -> None:
        self.run, self.replica, self.stream, self.processes = run, replica, stream, processes
        self.model, self.objective = replica.model, replica.objective
        self.optimizer, self.schedule, self.config = optimizer, schedule, config
        self.evaluator, self.hooks, self.say = evaluator, list(hooks), say
        self.averaging: Averaging | None = (
            config.averaging.build(replica.trained) if config.averaging is not None else None
        )
        self.base_rates = [group["lr"] for group in optimizer.param_groups]
        self.device = next(replica.trained.parameters()).device
        self.gradient = Gradient(replica, config, processes, say)
        self.step = 0
        self.saved_step: int | None = None
        self.total = 0
        self.position = Position()
        self.rate_scale = 1.0
        self.rollbacks = 0
        self.seconds = 0.0
        self.stop_reason: str | None = None

    def request_stop(self, reason: str) -> None:
        """End after the current step; the state is saved."""
        self.stop_reason = self.stop_reason or reason

    def fit(self, resume: bool = False) -> str:
        """Train to the end, or to a signal; returns the reason of the stop.

        Raises:
            CheckpointError: a state could not be saved; earlier ones are intact.
            NumericsError: the loss is not a number, and lower rates did not help.
        """
        if resume:
            self._restore()
        else:
            self.total = total_steps(self)
            self._save()
        with StopSignals(repeated=self.processes.count > 1) as signals:
            for hook in self.hooks:
                hook.start(self)
            while self.step < self.total and self.stop_reason is None:
                try:
                    self._train_until_stopped(signals)
                except Diverged as error:
                    self._roll_back(str(error))
            reason = self.stop_reason or "finished"
            if self.saved_step != self.step:
                self._save()
            for hook in self.hooks:
                hook.stop(reason)
        return reason

    def _train_until_stopped(self, signals: StopSignals) -> None:
        batches = self.stream.batches(self.position)
        config = self.config
        while self.step < self.total and self.stop_reason is None:
            self._train_step(batches)
            last = self.step == self.total
            if self.step % config.evaluate_every == 0 or last:
                self._evaluate()
            if self.step % config.checkpoint_every == 0 or last:
                self._save()
            if signals.received is not None:
                self.request_stop(f"stopped by {signals.received}")
            self.stop_reason = self.processes.any(self.stop_reason)

    def _train_step(self, batches: Iterator[tuple[Any, Position]]) -> None:
        started = time.perf_counter()
        micro_batches = []
        for _ in range(self.config.accumulate):
            batch, self.position = next(batches)
            micro_batches.append(batch)
        rate = self.set_rate(self.step + 1)
        totals, norm = self.learn(micro_batches, rate)
        self.step += 1
        if self.averaging is not None:
            self.averaging.update(self.replica.trained, self.step)
        seconds = time.perf_counter() - started
        self.seconds += seconds
        event = StepEvent(
            step=self.step,
            epoch=self.position.epoch,
            values=totals.means(),
            counts=totals.counts,
            rate=rate,
            gradient_norm=norm,
            tokens=sum(batch.target_tokens for batch in micro_batches),
            seconds=seconds,
        )
        for hook in self.hooks:
            hook.step(event)

    def set_rate(self, step: int) -> float:
        """Set the learning rate of a step; returns it."""
        factor = self.schedule.factor(step, self.total) * self.rate_scale
        for group, base in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = base * factor
        return self.base_rates[0] * factor

    def learn(self, micro_batches: Sequence[Any], rate: float) -> tuple[Totals, float | None]:
        """Change the weights by one step; the gradient's norm is None where no one knows it.

        Args:
            micro_batches: those of all processes, on any device.
        """
        own = [batch.to(self.device) for batch in self.processes.share(micro_batches)]
        if isinstance(self.objective, UpdatingObjective):
            self.model.train()
            totals = Totals()
            for batch in own:
                totals.add(self.objective.update(self.model, batch, rate))
            totals.check()
            return totals, None
        totals, norm = self.gradient.of(own)
        self.optimizer.step()
        if isinstance(self.objective, SteppedObjective):
            self.objective.stepped(self.replica.trained)
        return totals, norm

    def _evaluate(self) -> None:
        if self.averaging is not None:
            self.averaging.snapshot(self.replica.trained)
        with self.weights_shown(), torch.no_grad(), kept_random_state():
            if self.processes.first:
                self.model.eval()
                event = self.evaluator(self.step)
                for hook in self.hooks:
                    hook.evaluate(event)
        self.stop_reason = self.processes.any(self.stop_reason)

    def weights_shown(self) -> AbstractContextManager[None]:
        """`model` with the weights that are evaluated and kept: averaged ones, if configured.

        All processes call this together; `model` is the first one's to use.
        """
        if self.averaging is None or not self.averaging.ready:
            return self.replica.shown(None)
        return self.replica.shown(self.averaging.weights())

    def _roll_back(self, found: str) -> None:
        """Return to the last state with half the learning rate."""
        self.rollbacks += 1
        failed, rollbacks = self.step + 1, self.rollbacks
        if rollbacks > MAX_ROLLBACKS:
            raise NumericsError(
                f"the loss is not a finite number, after {MAX_ROLLBACKS} roll-backs ({found})",
                where=f"step {failed} of {self.run.path}",
                remedy="lower optimizer.lr, lengthen schedule.warmup, or set training.clip; "
                "states from before are kept in the run directory",
            )
        scale = self.rate_scale
        self._restore()
        self.rate_scale, self.rollbacks = min(self.rate_scale, scale) * 0.5, rollbacks
        self.say(
            f"step {failed}: not a finite number ({found}); back to step {self.step} with "
            f"{self.rate_scale:g} × the learning rate (roll-back {rollbacks} of {MAX_ROLLBACKS})"
        )
        self.run.log({"event": "rollback", "failed": failed, "found": found})

    def _save(self) -> None:
        groups = {
            "model": self.replica.tensors(),
            "optimizer": optimizer_tensors(self.optimizer),
            "random": random_states(self.processes),
        }
        if self.averaging is not None:
            groups |= self.averaging.state()
        record = {
            "total": self.total,
            "position": list(self.position),
            "rate_scale": self.rate_scale,
            "rollbacks": self.rollbacks,
            "seconds": self.seconds,
            "pieces": self.gradient.pieces,
            "hooks": {type(hook).__name__: hook.state() for hook in self.hooks},
        }
        self.run.save_state(self.step, groups, record, self.config.keep, self.processes)
        self.saved_step = self.step
        self.run.log({"event": "checkpoint", "step": self.step})
        for hook in self.hooks:
            hook.checkpoint(self.step)

    def _restore(self) -> None:
        """Return to the newest intact state, whatever number of processes saved it.

        Raises:
            CheckpointError: there is none.
        """
        state: SavedState | None = self.run.latest_state(self.say)
        if state is None:
            raise CheckpointError(
                "no training state is intact" if self.run.states() else "no state was saved yet",
                where=self.run.path / "state",
                remedy="train anew in another run directory; finished weights, if there are any, "
                "can still be used",
            )
        place = self.replica.place

        def by_number(key: str, shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
            return place(names[int(key.split(".")[0])], shape, dtype)

        self.replica.load(state.group("model", place))
        names = parameter_names(self.replica.trained, self.optimizer)
        load_optimizer_tensors(self.optimizer, state.group("optimizer", by_number))
        if self.averaging is not None:
            self.averaging.load_state({name: state.group(name, place) for name in state.names()})
        record = state.record
        self.step, self.total = state.step, record["total"]
        self.position = Position(*record["position"])
        self.rate_scale, self.rollbacks = record["rate_scale"], record["rollbacks"]
        self.seconds, self.gradient.pieces = record["seconds"], record.get("pieces", 1)
        for hook in self.hooks:
            hook.load_state(record["hooks"].get(type(hook).__name__, {}))
        # A team computes each batch together, with the same numbers.
        rank = self.processes.rank
        set_random_state(state.group("random"), rank - rank % self.processes.team)
        self.saved_step = self.step
        self.run.log({"event": "resume", "step": self.step})
