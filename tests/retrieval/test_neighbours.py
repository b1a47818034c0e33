"""Neighbour search against brute force, and hashing against its probability."""

import sys

import numpy as np
import pytest

from peluche.errors import ConfigError, MissingExtraError
from peluche.retrieval.neighbours import (
    ExactConfig,
    HnswConfig,
    IvfConfig,
    LshConfig,
    directions,
    recall,
)

RANDOM = np.random.default_rng(0)
VECTORS = RANDOM.standard_normal((600, 12)).astype(np.float32)
QUERIES = RANDOM.standard_normal((300, 12)).astype(np.float32)
EXHAUSTIVE = [
    ExactConfig(),
    LshConfig(tables=300, bits=2),
    HnswConfig(width=600, links=32),
    IvfConfig(cells=8, probes=8),
]


@pytest.mark.parametrize("config", EXHAUSTIVE, ids=lambda config: config.kind)
def test_an_index_that_looks_everywhere_finds_what_brute_force_finds(config):
    if config.kind in ("hnsw", "ivf"):
        pytest.importorskip("faiss")
    found = config.build(VECTORS).search(QUERIES, 5)
    lengths = np.linalg.norm(QUERIES, axis=1)[:, None] * np.linalg.norm(VECTORS, axis=1)
    cosines = (QUERIES @ VECTORS.T) / lengths
    best = np.argsort(-cosines, axis=1)[:, :5]
    np.testing.assert_array_equal(found.numbers, best)
    np.testing.assert_allclose(found.similarities, np.take_along_axis(cosines, best, 1), atol=1e-5)


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_hashing_collides_as_often_as_the_angle_says(bits):
    """(1 − θ/π)^bits in a table (Charikar 2002)."""
    tables = 4000
    one, other = np.array([[1.0, 0.0]], np.float32), np.array([[1.0, 1.0]], np.float32)
    index = LshConfig(tables=tables, bits=bits).build(one)
    same = (index._codes(one) == index._codes(directions(other))).mean()
    expected = 0.75**bits
    assert same == pytest.approx(expected, abs=4 * (expected * (1 - expected) / tables) ** 0.5)


def test_more_tables_find_more_and_more_bits_compare_less():
    exact = ExactConfig().build(VECTORS).search(QUERIES, 10)
    found = {}
    for tables, bits in ((1, 8), (8, 8), (8, 3)):
        index = LshConfig(tables=tables, bits=bits).build(VECTORS)
        found[tables, bits] = recall(index.search(QUERIES, 10), exact)
    assert found[1, 8] < found[8, 8] < found[8, 3]
    few, many = (LshConfig(tables=8, bits=bits).build(VECTORS) for bits in (8, 3))
    code = QUERIES[:1]
    assert len(few.candidates(few._codes(code)[0])) < len(many.candidates(many._codes(code)[0]))


def test_where_little_is_found_the_rest_is_marked():
    found = ExactConfig().build(VECTORS[:2]).search(QUERIES[:3], 4)
    assert (found.numbers[:, 2:] == -1).all()
    assert np.isneginf(found.similarities[:, 2:]).all()
    lonely = LshConfig(tables=1, bits=62).build(VECTORS[:5]).search(-VECTORS[:5], 1)
    assert (lonely.numbers == -1).all()


def test_zero_vectors_are_like_nothing():
    vectors = np.vstack([np.zeros(3), np.eye(3)]).astype(np.float32)
    found = ExactConfig().build(vectors).search(vectors[1:2], 1)
    assert found.numbers.tolist() == [[1]]


def test_mistakes_are_told(monkeypatch):
    with pytest.raises(ConfigError, match="5 vectors cannot fill 128 cells"):
        IvfConfig().build(VECTORS[:5])
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtraError, match="needs faiss"):
        HnswConfig().build(VECTORS)
