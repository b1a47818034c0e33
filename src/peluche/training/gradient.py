"""The gradient of one optimizer step: over micro-batches and processes, in the memory there is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from peluche.errors import ResourceError
from peluche.memory import is_out_of_memory, no_room, pieces_of, rows_of
from peluche.objectives.base import SteppedObjective, UpdatingObjective
from peluche.processes import Processes
from peluche.training.config import TrainingConfig
from peluche.training.replica import Replica
from peluche.training.totals import Totals


class Gradient:
    """Every term's total is divided by its count over the whole step, so the gradient does not
    depend on how the step is cut into micro-batches, pieces of them, and processes.

    Attributes:
        pieces: each micro-batch is computed in so many; doubled when memory runs out.
    """

    def __init__(
        self,
        replica: Replica,
        config: TrainingConfig,
        processes: Processes,
        say: Callable[[str], None],
    ) -> None:
        self.replica, self.objective, self.config = replica, replica.objective, config
        self.processes, self.say = processes, say
        self.pieces = 1
        self.device = next(replica.trained.parameters()).device

    def of(self, micro_batches: Sequence[Any]) -> tuple[Totals, float]:
        """Leave the clipped gradient of a step in the parameters.

        Args:
            micro_batches: this process's.

        Returns:
            What was measured over all processes, and the gradient's norm before it was clipped.

        Raises:
            Diverged: the loss or the gradient is not a finite number.
            ResourceError: memory ran out with a row at a time.
        """
        whole = bool(getattr(self.objective, "whole_step", False))
        if whole and len(micro_batches) > 1:
            micro_batches = [type(micro_batches[0]).join(micro_batches)]
        while True:
            found = self._tried(micro_batches, may_cut=not whole)
            if found is not None:
                break
            # Outside the handler, whose exception keeps what was computed alive.
            self.pieces *= 2
            if self.pieces >= 2 * max(map(rows_of, micro_batches)):
                raise no_room("a single row of it")
            self.say(f"memory ran out: batches are computed in {self.pieces} pieces from here on")
        totals = found.over(self.processes)
        norm = self.replica.clip(math.inf if self.config.clip is None else self.config.clip)
        totals.check(gradient=norm)
        return totals, norm

    def _tried(self, micro_batches: Sequence[Any], *, may_cut: bool) -> Totals | None:
        """What was measured while gradients were added up; None where memory ran out."""
        try:
            return self._accumulated(micro_batches)
        except ResourceError:
            raise
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if self.processes.count > 1:
                raise ResourceError(
                    "memory ran out in one of several processes",
                    remedy="make batching.tokens smaller and training.accumulate larger by the "
                    "same factor: the steps stay what they are",
                ) from error
            if not may_cut:
                raise no_room("an objective that needs the whole of it at once") from error
        return None

    def _accumulated(self, micro_batches: Sequence[Any]) -> Totals:
        if isinstance(self.objective, SteppedObjective):
            self.objective.begin()
        self.replica.trained.train()
        self.replica.trained.zero_grad(set_to_none=True)
        pieces = list(micro_batches)
        if self.pieces > 1:
            pieces = [piece for batch in pieces for piece in pieces_of(batch, self.pieces)]
        assert not isinstance(self.objective, UpdatingObjective)
        counts: dict[str, float] = {}
        for batch in pieces:
            for name, count in self.objective.counts(batch).items():
                counts[name] = counts.get(name, 0.0) + count
        counts = self.processes.total(counts)
        totals = Totals()
        for number, batch in enumerate(pieces, start=1):
            more = number < len(pieces)
            with self.replica.more_to_come() if more else nullcontext():
                with self._autocast():
                    losses = self.replica.worth(batch)
                loss = torch.zeros((), device=self.device)
                for name, term in losses.terms.items():
                    loss = loss + term.total * (self.replica.scale * term.weight / counts[name])
                loss.backward()
            totals.add(losses)
        return totals

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.config.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)
