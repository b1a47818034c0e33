"""Negative log-likelihood and calibration error against the plain formulas."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from peluche.metrics.calibration import BINS, CalibrationError, MeanNll, measure_probabilities


def probabilities(count=200, classes=3):
    random = np.random.default_rng(0)
    return random.dirichlet(np.ones(classes), count), random.integers(0, classes, count)


def test_nll_equals_scikit_learns_log_loss():
    found, gold = probabilities()
    nll, _ = measure_probabilities(found, gold)
    assert isinstance(nll.metric, MeanNll)
    assert nll.score(0).score == pytest.approx(log_loss(gold, found))


def test_calibration_error_equals_the_formula():
    found, gold = probabilities()
    confidence, right = found.max(1), found.argmax(1) == gold
    expected = 0.0
    for low in np.arange(BINS) / BINS:
        inside = (confidence >= low) & (confidence < low + 1 / BINS)
        if inside.any():
            expected += inside.sum() * abs(right[inside].mean() - confidence[inside].mean())
    _, error = measure_probabilities(found, gold)
    assert error.score(0).score == pytest.approx(100 * expected / len(gold))


def test_certain_and_right_is_perfect():
    nll, error = measure_probabilities(np.eye(2), [0, 1])
    assert (nll.score(0).score, error.score(0).score) == (0, 0)
    assert MeanNll.better == CalibrationError.better == "lower"


def test_certain_and_wrong_is_infinitely_bad():
    nll, error = measure_probabilities(np.eye(2), [1, 0])
    assert nll.score(0).score == np.inf
    assert error.score(0).score == 100
