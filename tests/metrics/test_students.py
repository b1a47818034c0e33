"""Intervals of means beside scipy's."""

import numpy as np
import pytest
from scipy import stats

from peluche.metrics.students import mean_interval, quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 9, 30, 200])
def test_quantiles_are_those_of_scipy(freedom):
    assert quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-5)


def test_the_interval_of_a_mean():
    values = [1.2, 1.5, 1.1]
    spread = stats.sem(values)
    expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), spread)
    assert mean_interval(values) == pytest.approx(expected, rel=1e-5)


def test_one_value_has_no_interval():
    assert mean_interval([1.0]) is None
