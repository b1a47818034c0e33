"""What happens during training, as typed events, and the hooks that hear of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peluche.training.loop import Trainer


@dataclass(frozen=True)
class StepEvent:
    """One optimizer step.

    Attributes:
        step: number of the step, from 1.
        values: mean of each loss term and metric over the step.
        counts: how many items each mean is over.
        rate: learning rate used.
        gradient_norm: before clipping; None where the objective updates the weights itself.
        tokens: target tokens in the step.
        seconds: how long it took.
    """

    step: int
    epoch: int
    values: Mapping[str, float]
    counts: Mapping[str, float]
    rate: float
    gradient_norm: float | None
    tokens: int
    seconds: float


@dataclass(frozen=True)
class EvaluateEvent:
    """Metrics on the validation set after `step`; `samples` are (source, translation) pairs."""

    step: int
    metrics: Mapping[str, float]
    samples: tuple[tuple[str, str], ...] = ()


class Hook:
    """Subscribes to events by overriding methods; has no say in what a step computes."""

    def start(self, trainer: Trainer) -> None:
        """Before the first step, and after a resume."""

    def step(self, event: StepEvent) -> None:
        """After each optimizer step."""

    def evaluate(self, event: EvaluateEvent) -> None:
        """After each evaluation; the trainer's model still has the weights that were evaluated."""

    def checkpoint(self, step: int) -> None:
        """After a state has been saved."""

    def stop(self, reason: str) -> None:
        """After the last step, whatever ended the training."""

    def state(self) -> dict[str, Any]:
        """What a resume needs, as plain values."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
