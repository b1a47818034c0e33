"""The one loop: data → objective → backward → step, and events for everything else."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import nn

from peluche.data.batching import Position
from peluche.errors import CheckpointError, NumericsError
from peluche.hub.checkpoint import SavedState
from peluche.hub.run import RunDirectory
from peluche.objectives.base import Objective, SteppedObjective, UpdatingObjective
from peluche.training.averaging import Averaging
from peluche.training.budget import total_steps
from peluche.training.config import TrainingConfig
from peluche.training.events import EvaluateEvent, Hook, StepEvent
from peluche.training.optimizers import Combined
from peluche.training.schedules import Schedule
from peluche.training.signals import StopSignals
from peluche.training.states import (
    kept_random_state,
    load_optimizer_tensors,
    optimizer_tensors,
    random_state,
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
        model: what is trained, on the device it is to be trained on.
        objective: what a batch is worth, or one that changes the weights itself.
        stream: where batches come from.
        evaluator: scores the model every `evaluate_every` steps and at the end.
        hooks: hear of every event.
        say: one-line messages for people.
    """

    def __init__(
        self,
        run: RunDirectory,
        model: nn.Module,
        objective: Objective | UpdatingObjective,
        stream: Stream,
        optimizer: torch.optim.Optimizer | Combined,
        schedule: Schedule,
        config: TrainingConfig,
        evaluator: Evaluator,
        hooks: Sequence[Hook] = (),
        say: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.run, self.model, self.objective, self.stream = run, model, objective, stream
        self.optimizer, self.schedule, self.config = optimizer, schedule, config
        self.evaluator, self.hooks, self.say = evaluator, list(hooks), say
        self.averaging: Averaging | None = (
            config.averaging.build(model) if config.averaging is not None else None
        )
        self.base_rates = [group["lr"] for group in optimizer.param_groups]
        self.device = next(model.parameters()).device
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
        with StopSignals() as signals:
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

    def _train_step(self, batches: Iterator[tuple[Any, Position]]) -> None:
        started = time.perf_counter()
        micro_batches = []
        for _ in range(self.config.accumulate):
            batch, self.position = next(batches)
            micro_batches.append(batch.to(self.device))
        rate = self.set_rate(self.step + 1)
        totals, norm = self.learn(micro_batches, rate)
        self.step += 1
        if self.averaging is not None:
            self.averaging.update(self.model, self.step)
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
        """Change the weights by one step; the gradient's norm is None where no one knows it."""
        if isinstance(self.objective, UpdatingObjective):
            self.model.train()
            totals = Totals()
            for batch in micro_batches:
                totals.add(self.objective.update(self.model, batch, rate))
            totals.check()
            return totals, None
        totals, norm = self.gradients(micro_batches)
        self.optimizer.step()
        if isinstance(self.objective, SteppedObjective):
            self.objective.stepped(self.model)
        return totals, norm

    def gradients(self, micro_batches: Sequence[Any]) -> tuple[Totals, float]:
        """Gradients of the step's loss, clipped; returns what was measured, and the norm before.

        Every term's total is divided by its count over the whole step, so the result does not
        depend on how the step is cut into micro-batches.
        """
        assert not isinstance(self.objective, UpdatingObjective)
        if getattr(self.objective, "whole_step", False) and len(micro_batches) > 1:
            micro_batches = [type(micro_batches[0]).join(micro_batches)]
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        counts: dict[str, float] = {}
        for batch in micro_batches:
            for name, count in self.objective.counts(batch).items():
                counts[name] = counts.get(name, 0.0) + count
        totals = Totals()
        for batch in micro_batches:
            with self._autocast():
                losses = self.objective(self.model, batch)
            loss = torch.zeros((), device=self.device)
            for name, term in losses.terms.items():
                loss = loss + term.total * (term.weight / counts[name])
            loss.backward()
            totals.add(losses)
        limit = math.inf if self.config.clip is None else self.config.clip
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), limit, foreach=True))
        totals.check(gradient=norm)
        return totals, norm

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.config.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def _evaluate(self) -> None:
        if self.averaging is not None:
            self.averaging.snapshot(self.model)
        with self.averaged_weights(), torch.no_grad(), kept_random_state():
            self.model.eval()
            event = self.evaluator(self.step)
        for hook in self.hooks:
            hook.evaluate(event)

    def averaged_weights(self) -> AbstractContextManager[None]:
        """The model with the weights that are evaluated and kept: averaged ones, if configured."""
        if self.averaging is None or not self.averaging.ready:
            return nullcontext()
        return self.averaging.applied(self.model)

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
            "model": dict(self.model.state_dict()),
            "optimizer": optimizer_tensors(self.optimizer),
            "random": random_state(),
        }
        if self.averaging is not None:
            groups |= self.averaging.state()
        record = {
            "total": self.total,
            "position": list(self.position),
            "rate_scale": self.rate_scale,
            "rollbacks": self.rollbacks,
            "seconds": self.seconds,
            "hooks": {type(hook).__name__: hook.state() for hook in self.hooks},
        }
        self.run.save_state(self.step, groups, record, keep=self.config.keep)
        self.saved_step = self.step
        self.run.log({"event": "checkpoint", "step": self.step})
        for hook in self.hooks:
            hook.checkpoint(self.step)

    def _restore(self) -> None:
        """Return to the newest intact state.

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
        self.model.load_state_dict(dict(state.tensors["model"]))
        load_optimizer_tensors(self.optimizer, state.tensors["optimizer"])
        if self.averaging is not None:
            self.averaging.load_state({k: dict(v) for k, v in state.tensors.items()})
        record = state.record
        self.step, self.total = state.step, record["total"]
        self.position = Position(*record["position"])
        self.rate_scale, self.rollbacks = record["rate_scale"], record["rollbacks"]
        self.seconds = record["seconds"]
        for hook in self.hooks:
            hook.load_state(record["hooks"].get(type(hook).__name__, {}))
        set_random_state(state.tensors["random"])
        self.saved_step = self.step
        self.run.log({"event": "resume", "step": self.step})
