"""Confidence intervals and paired significance, for any metric, from its statistics alone.

All randomness comes from ``numpy.random.default_rng(seed)``, drawn in the order in which
sacreBLEU draws it, so that resamples are the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from peluche.metrics.base import Array, Metric

# Resamples are drawn in blocks of about this many indices to bound memory (32 MB of int64).
BLOCK = 4_000_000
# Two differences that are equal in exact arithmetic may be this far apart in floating point.
TIE = 1e-9


def resampled_sums(statistics: Array, samples: int, seed: int) -> Array:
    """Sums (samples, K) of segments drawn with replacement from statistics (N, K)."""
    count = len(statistics)
    generator = np.random.default_rng(seed)
    blocks = []
    for rows in _blocks(samples, count):
        chosen = generator.integers(0, count, size=(rows, count))
        chosen += np.arange(rows)[:, None] * count
        times = np.bincount(chosen.ravel(), minlength=rows * count).reshape(rows, count)
        blocks.append(times.astype(np.float64) @ statistics)
    return np.concatenate(blocks)


def interval(scores: Array) -> tuple[float, float]:
    """The 95 % percentile interval of resampled scores (S,): S // 40 left out at either end."""
    ordered = np.sort(scores)
    left_out = len(ordered) // 40
    return float(ordered[left_out]), float(ordered[-1 - left_out])


def bootstrap_interval(
    metric: Metric, statistics: Array, samples: int, seed: int
) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a corpus score; statistics are (N, K)."""
    return interval(metric.aggregate(resampled_sums(statistics, samples, seed)))


def paired_bootstrap(
    metric: Metric, baseline: Array, system: Array, samples: int, seed: int
) -> tuple[float, tuple[float, float]]:
    """Two-sided p-value and 95 % interval of the difference of two systems' scores.

    Both systems are scored on the same resamples (Koehn, 2004, "Statistical Significance Tests
    for Machine Translation Evaluation"). The null distribution is that of the resampled
    differences moved to have the observed difference at zero (Efron and Tibshirani, 1993,
    chapter 16). sacreBLEU centres *absolute* differences instead, which makes its p-values
    smaller, and minimal for two equal systems.

    Args:
        baseline: statistics (N, K) of the one system; `system`: (N, K) of the other.
    """
    difference = _difference(metric, baseline, system)
    resampled = metric.aggregate(resampled_sums(system, samples, seed)) - metric.aggregate(
        resampled_sums(baseline, samples, seed)
    )
    return _p_value(resampled - difference, difference), interval(resampled)


def randomization_test(
    metric: Metric, baseline: Array, system: Array, trials: int, seed: int
) -> float:
    """Two-sided p-value of the difference by approximate randomisation.

    Each trial swaps the two outputs of each segment with probability one half (Riezler and
    Maxwell, 2005, "On Some Pitfalls in Automatic Evaluation and Significance Testing for MT").

    Args:
        baseline: statistics (N, K) of the one system; `system`: (N, K) of the other.
    """
    generator = np.random.default_rng(seed)
    change = baseline - system
    differences = []
    for rows in _blocks(trials, len(change)):
        swapped = generator.integers(2, size=(rows, len(change)), dtype=bool)
        moved = swapped.astype(np.float64) @ change
        differences.append(
            metric.aggregate(system.sum(0) + moved) - metric.aggregate(baseline.sum(0) - moved)
        )
    return _p_value(np.concatenate(differences), _difference(metric, baseline, system))


def _difference(metric: Metric, baseline: Array, system: Array) -> float:
    return float(metric.aggregate(system.sum(0)) - metric.aggregate(baseline.sum(0)))


def _p_value(under_null: Array, difference: float) -> float:
    """The share of differences at least as large as the observed one, which itself counts."""
    extreme = np.sum(np.abs(under_null) >= abs(difference) - TIE)
    return (int(extreme) + 1) / (len(under_null) + 1)


def _blocks(total: int, width: int) -> Iterator[int]:
    """Row counts that sum to `total`, each block about BLOCK numbers when rows are `width` wide."""
    rows = max(1, BLOCK // width)
    for start in range(0, total, rows):
        yield min(rows, total - start)
