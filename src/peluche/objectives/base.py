"""What an objective returns: named totals and the counts they are over.

The loop divides by the count of the whole optimizer step, over all micro-batches and devices, so
that a gradient does not depend on how the step's batch was cut up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@dataclass(frozen=True)
class Term:
    """One part of a loss: `total` is a differentiable sum over `count` items."""

    total: Tensor
    count: float
    weight: float = 1.0


@dataclass(frozen=True)
class Metric:
    """A figure for people: `total` over `count` items, not differentiated."""

    total: float
    count: float


@dataclass(frozen=True)
class Losses:
    """What a batch is worth."""

    terms: Mapping[str, Term]
    metrics: Mapping[str, Metric] = field(default_factory=dict)


class Objective(Protocol):
    """Scores a batch; never generates.

    It may have more. `whole_step`: True if a term is not a sum over items, such as the balance of
    experts; it is then given a step's batches joined into one, of its process; `exchanges` says
    that it sees to the others' itself: its recipe hands it the processes, which all have to
    exchange the same things in the same order. `stepped`: see
    `SteppedObjective`. `whole_weights`: True if that changes weights, which are then not to be
    divided among processes.
    """

    def counts(self, batch: Any) -> dict[str, float]:
        """The count of each term, known before the forward pass."""

    def __call__(self, model: Any, batch: Any) -> Losses:
        """Run the model on a batch."""


@runtime_checkable
class SteppedObjective(Protocol):
    """An objective that has something to do after each optimizer step."""

    def begin(self) -> None:
        """Before every try of a step: forget what one that failed has left."""

    def stepped(self, model: Any) -> None:
        """Change what gradients do not."""


@runtime_checkable
class UpdatingObjective(Protocol):
    """An objective whose gradient and update are one operation, such as a fused kernel.

    The loop then calls `update` in place of the forward and backward pass and the optimizer's step;
    clipping and the optimizer have no part in it. Everything else is as for other objectives. What
    it draws at random has to follow from the batch, and a rate of 0 has to leave all weights as
    they are.
    """

    def update(self, model: Any, batch: Any, rate: float) -> Losses:
        """Change the model by one batch at this learning rate; terms need not be differentiable."""
