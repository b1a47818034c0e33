"""Intervals of a mean of few measurements, such as seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

import numpy as np

GRID = 100_001


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the mean of independent normal values (Student 1908).

    With three values it is the mean ± 2.48 standard deviations. None of fewer than two values.
    """
    count = len(values)
    if count < 2:
        return None
    half = quantile(count - 1) * stdev(values) / math.sqrt(count)
    mean = fmean(values)
    return mean - half, mean + half


def quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t with so many degrees of freedom.

    With t = √freedom · tan φ its density is that of φ, proportional to cos(φ)^(freedom − 1).
    """
    angles = np.linspace(0.0, math.pi / 2, GRID)
    density = np.cos(angles) ** (freedom - 1)
    mass = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    angle = np.interp(0.95, mass / mass[-1], angles)
    return math.sqrt(freedom) * math.tan(float(angle))
