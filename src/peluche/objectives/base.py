"""What an objective returns: named totals and the counts they are over.

The loop divides by the count of the whole optimizer step, over all micro-batches and devices, so
that a gradient does not depend on how the step's batch was cut up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

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


class Means:
    """Means over batches of every term and metric, each weighted by its count."""

    def __init__(self) -> None:
        self._totals: dict[str, float] = {}
        self._counts: dict[str, float] = {}
        self._weights: dict[str, float] = {}

    def add(self, losses: Losses) -> None:
        """Count one more batch."""
        for name, term in losses.terms.items():
            self._weights[name] = term.weight
            self._add(name, float(term.total.detach()), term.count)
        for name, metric in losses.metrics.items():
            self._add(name, metric.total, metric.count)

    def _add(self, name: str, total: float, count: float) -> None:
        self._totals[name] = self._totals.get(name, 0.0) + total
        self._counts[name] = self._counts.get(name, 0.0) + count

    def values(self) -> dict[str, float]:
        """The means by name, and `loss`: the weighted sum of the terms, which is minimised."""
        means = {name: total / self._counts[name] for name, total in self._totals.items()}
        loss = sum(weight * means[name] for name, weight in self._weights.items())
        return {"loss": loss, **means}


class Objective(Protocol):
    """Scores a batch; never generates."""

    def counts(self, batch: Any) -> dict[str, float]:
        """The count of each term, known before the forward pass."""

    def __call__(self, model: Any, batch: Any) -> Losses:
        """Run the model on a batch."""
