"""Scores of labels: closed forms, and equality with scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peluche.errors import DataError
from peluche.metrics.classification import confusion_matrix, measure_classification
from peluche.metrics.scoring import scores_of

LABELS = ["bear", "cat", "dog"]


def by_name(measured, bootstrap=0):
    return {score.metric: score for score in scores_of(measured, bootstrap)}


def test_closed_form():
    gold = ["cat", "cat", "cat", "dog"]
    said = ["cat", "cat", "dog", "dog"]
    found = by_name(measure_classification(said, gold), bootstrap=1000)
    assert found["accuracy"].score == 75
    assert found["precision[cat]"].score == 100
    assert found["recall[cat]"].score == pytest.approx(200 / 3)
    assert found["f1[cat]"].score == pytest.approx(80)
    assert found["f1_macro"].score == pytest.approx((80 + 200 / 3) / 2)
    low, high = found["accuracy"].ci
    assert low <= 75 <= high


@given(
    pairs=st.lists(
        st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=30
    )
)
@settings(max_examples=50, deadline=None)
def test_equals_scikit_learn(pairs):
    sklearn = pytest.importorskip("sklearn.metrics")
    said, gold = ([pair[side] for pair in pairs] for side in (0, 1))
    found = by_name(measure_classification(said, gold, labels=LABELS))
    figures = sklearn.precision_recall_fscore_support(gold, said, labels=LABELS, zero_division=0)
    for name, values in zip(("precision", "recall", "f1"), figures[:3], strict=True):
        assert found[f"{name}_macro"].score == pytest.approx(100 * values.mean())
        for label, value in zip(LABELS, values, strict=True):
            assert found[f"{name}[{label}]"].score == pytest.approx(100 * value)
    expected = sklearn.confusion_matrix(gold, said, labels=LABELS)
    assert np.array_equal(confusion_matrix(said, gold, LABELS), expected)


def test_a_label_that_was_never_seen_is_an_error():
    with pytest.raises(DataError, match="'bird' is not one of bear, cat, dog"):
        measure_classification(["bird"], ["cat"], labels=LABELS)


@pytest.mark.parametrize(("said", "gold"), [([], []), (["cat"], ["cat", "dog"])])
def test_nothing_and_unequal_numbers_are_errors(said, gold):
    with pytest.raises(DataError):
        measure_classification(said, gold)
