"""The best trees are the best of all trees, counted out."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peluche.data.sentences import check_tree
from peluche.errors import DataError
from peluche.generation.trees import best_constituents, spanning_tree


def all_trees(words):
    for heads in itertools.product(range(words + 1), repeat=words):
        try:
            check_tree(heads, "")
        except DataError:
            continue
        yield heads


def total(scores, heads):
    return sum(scores[word, head] for word, head in enumerate(heads))


@pytest.mark.parametrize("words", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("seed", range(20))
def test_spanning_tree_is_the_best_of_all(words, seed):
    # Few different scores make many cycles; the noise leaves no ties.
    random = np.random.default_rng(seed)
    scores = random.integers(0, 3, (words, words + 1)) + 1e-3 * random.random((words, words + 1))
    found = spanning_tree(scores)
    check_tree(found, "")
    best = max(all_trees(words), key=lambda heads: total(scores, heads))
    assert total(scores, found) == pytest.approx(total(scores, best), abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40))
def test_spanning_tree_of_any_scores_is_a_tree(seed, words):
    random = np.random.default_rng(seed)
    scores = np.log(random.random((words, words + 1)) ** 8)
    check_tree(spanning_tree(scores), "")


def test_an_arc_that_cannot_be_is_never_taken():
    scores = np.zeros((3, 4))
    scores[:, 3] = -np.inf
    scores[2, 3] = 5.0  # a word is not its own head
    found = spanning_tree(scores)
    check_tree(found, "")
    assert 3 not in found


def all_splits(first, last):
    """Every binary tree over words, as its set of spans."""
    if first == last:
        yield [(first, last)]
        return
    for middle in range(first, last):
        for left in all_splits(first, middle):
            for right in all_splits(middle + 1, last):
                yield [(first, last), *left, *right]


@pytest.mark.parametrize("words", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("seed", range(5))
def test_constituents_are_the_best_of_all(words, seed):
    random = np.random.default_rng(seed)
    gains = random.normal(-0.5, 1.0, (words, words, 4))
    gains[..., 0] = 0

    def worth(span):
        named = gains[span][1:].max()
        return named if span == (0, words - 1) and words > 1 else max(0.0, named)

    best = max(sum(map(worth, spans)) for spans in all_splits(0, words - 1))
    found = best_constituents(gains)
    assert sum(gains[first, end - 1, name] for first, end, name in found) == pytest.approx(best)
    assert all(name for *_, name in found)
    if words > 1:
        assert found[0][:2] == (0, words), "the sentence as a whole has a name"
