import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from peluche.metrics.edits import common_subsequence, edit_distance

words = st.lists(st.sampled_from("abcd"), max_size=80)


def tables(source, target):
    """Edit distance and longest common subsequence by their recurrences."""
    edits = np.zeros((len(source) + 1, len(target) + 1), dtype=int)
    edits[:, 0], edits[0] = np.arange(len(source) + 1), np.arange(len(target) + 1)
    common = np.zeros_like(edits)
    for i, one in enumerate(source, start=1):
        for j, other in enumerate(target, start=1):
            same = one == other
            edits[i, j] = min(
                edits[i - 1, j - 1] + (not same), edits[i - 1, j] + 1, edits[i, j - 1] + 1
            )
            common[i, j] = max(common[i - 1, j - 1] + same, common[i - 1, j], common[i, j - 1])
    return edits[-1, -1], common[-1, -1]


@given(words, words)
def test_both_equal_their_recurrences(source, target):
    assert (edit_distance(source, target), common_subsequence(source, target)) == tables(
        source, target
    )


@given(words, words, words)
def test_edit_distance_is_a_metric(one, two, three):
    assert edit_distance(one, one) == 0
    assert edit_distance(one, two) == edit_distance(two, one)
    assert edit_distance(one, three) <= edit_distance(one, two) + edit_distance(two, three)


def test_very_long_lines_are_feasible():
    generator = np.random.default_rng(0)
    source, target = generator.integers(0, 1000, size=(2, 20_000)).tolist()
    assert 0 < common_subsequence(source, target) < 20_000
    assert 0 < edit_distance(source, target) <= 20_000
