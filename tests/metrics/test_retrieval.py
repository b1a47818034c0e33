"""Scores of rankings, by hand."""

import pytest

from peluche.metrics.retrieval import measure_ranks


def test_by_hand():
    found = {one.metric: one for one in (m.score(200) for m in measure_ranks([1, 2, 6, 20]))}
    assert {name: one.score for name, one in found.items()} == {
        "recall_at_1": 25,
        "recall_at_5": 50,
        "recall_at_10": 75,
        "mrr": pytest.approx(100 * (1 + 1 / 2 + 1 / 6 + 1 / 20) / 4),
    }
    low, high = found["mrr"].ci
    assert low < found["mrr"].score < high
