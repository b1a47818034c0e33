"""Means over many batches, from the totals and counts that objectives give."""

from __future__ import annotations

import math

from peluche.objectives.base import Losses
from peluche.processes import Processes


class Diverged(Exception):
    """The loss or a gradient is not a finite number."""


class Totals:
    """Adds up the terms and metrics of batches.

    `loss` is the weighted sum of the terms' means: what is minimised.

    Attributes:
        counts: how many items each mean is over.
    """

    def __init__(self) -> None:
        self._totals: dict[str, float] = {}
        self._weights: dict[str, float] = {}
        self.counts: dict[str, float] = {}

    def add(self, losses: Losses) -> None:
        """Add a batch."""
        for name, term in losses.terms.items():
            self._weights[name] = term.weight
            self._add(name, float(term.total.detach()), term.count)
        if "loss" not in losses.terms:
            # Terms may be over items of several kinds; those of the first stand for the sum.
            self.counts["loss"] = self.counts[next(iter(losses.terms))]
        for name, metric in losses.metrics.items():
            self._add(name, metric.total, metric.count)

    def _add(self, name: str, total: float, count: float) -> None:
        self._totals[name] = self._totals.get(name, 0.0) + total
        self.counts[name] = self.counts.get(name, 0.0) + count

    def means(self) -> dict[str, float]:
        """The loss, and the mean of each term and metric; 0 where nothing was counted."""
        means = {
            name: total / self.counts[name] if self.counts[name] else 0.0
            for name, total in self._totals.items()
        }
        loss = sum(weight * means[name] for name, weight in self._weights.items())
        return {"loss": loss, **means}

    def over(self, processes: Processes) -> Totals:
        """The sums over all processes."""
        together = Totals()
        together._weights = self._weights
        together._totals = processes.total(self._totals)
        together.counts = processes.total(self.counts)
        return together

    def check(self, **others: float) -> None:
        """Refuse means, and other numbers, that are not finite.

        Raises:
            Diverged: one is not.
        """
        values = {**self.means(), **others}
        if not all(map(math.isfinite, values.values())):
            raise Diverged(", ".join(f"{name} {value}" for name, value in values.items()))
