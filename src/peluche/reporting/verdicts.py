"""Test scores beside the figures that the recipe expects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from peluche.training.hooks import LOWER_IS_BETTER

Verdict = Literal["reached", "better", "missed", "not measured"]


@dataclass(frozen=True)
class Expectation:
    """A figure that a recipe expects, and what became of it.

    Attributes:
        machine: what the figure was measured on; empty if not told.
        score: what this run has, on the same split.
        verdict: "reached" within the tolerance, "better" or "missed" outside of it.
    """

    metric: str
    split: str
    value: float
    tolerance: float
    machine: str
    score: float | None
    verdict: Verdict


def judge(
    expected: Sequence[Mapping[str, Any]],
    test: Mapping[str, float],
    validation: Mapping[str, float],
) -> list[Expectation]:
    """Compare expected figures (from a recipe's config) with scores by metric."""
    found = []
    for figure in expected:
        scores = test if figure["split"] == "test" else validation
        score = scores.get(figure["metric"])
        found.append(
            Expectation(
                metric=figure["metric"],
                split=figure["split"],
                value=figure["value"],
                tolerance=figure["tolerance"],
                machine=figure.get("machine", ""),
                score=score,
                verdict=_verdict(figure, score),
            )
        )
    return found


def _verdict(figure: Mapping[str, Any], score: float | None) -> Verdict:
    if score is None:
        return "not measured"
    gain = score - figure["value"]
    # 97.3 - 98 is a little below -0.7 in floating point.
    if abs(gain) <= figure["tolerance"] + 1e-9:
        return "reached"
    return "better" if (gain < 0) == (figure["metric"] in LOWER_IS_BETTER) else "missed"
