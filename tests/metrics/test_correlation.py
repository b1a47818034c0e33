"""Spearman's correlation against scipy's."""

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from peluche.metrics.correlation import Spearman, ranks
from peluche.metrics.scoring import score_statistics


@pytest.mark.parametrize("ties", [1000, 5])
def test_equal_to_scipy(ties):
    random = np.random.default_rng(0)
    gold = random.integers(0, ties, 200)
    said = gold + random.integers(0, ties, 200)
    np.testing.assert_allclose(ranks(gold.astype(float)), rankdata(gold))
    metric = Spearman()
    score = score_statistics(metric, metric.statistics(said.tolist(), gold.tolist()))
    assert score.score == pytest.approx(100 * spearmanr(said, gold).statistic, abs=1e-9)
    low, high = score.ci
    assert low < score.score < high


def test_the_interval_is_that_of_fisher():
    """For many items, arctanh ρ is nearly normal with variance 1.06/(N − 3) (Fieller 1957)."""
    random = np.random.default_rng(1)
    gold = random.standard_normal(2000)
    said = gold + random.standard_normal(2000)
    metric = Spearman()
    score = score_statistics(metric, metric.statistics(said.tolist(), gold.tolist()))
    middle = np.arctanh(score.score / 100)
    expected = 100 * np.tanh(middle + np.array([-1.96, 1.96]) * (1.06 / 1997) ** 0.5)
    np.testing.assert_allclose(score.ci, expected, atol=1.0)


def test_what_has_no_order_has_no_correlation():
    metric = Spearman()
    statistics = metric.statistics([1.0, 1.0, 1.0], [1.0, 2.0, 3.0])
    assert score_statistics(metric, statistics, bootstrap=0).score == 0
    assert score_statistics(metric, metric.statistics([1.0], [2.0]), bootstrap=10).score == 0
