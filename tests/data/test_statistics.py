"""Statistics of a corpus against counts made by hand and by numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peluche.data.pairs import Pair
from peluche.data.statistics import Lengths, statistics, statistics_table

PAIRS = [
    Pair("a cute bear", "un ours mignon", "x:1"),
    Pair("a cute bear", "un ours mignon", "x:2"),
    Pair("a cute bear", "un bel ours", "x:3"),
    Pair("", "vide", "x:4"),
    Pair("word " * 100_000, "mot", "x:5"),
]


def test_counts() -> None:
    found = statistics(iter(PAIRS))
    assert found["pairs"] == 5
    assert found["duplicates"] == 1
    assert (found["repeated_sources"], found["repeated_targets"]) == (2, 1)
    source, target = found["source"], found["target"]
    assert (source["words"], target["words"]) == (100_009, 11)
    assert (source["empty"], target["empty"]) == (1, 0)
    assert (source["vocabulary"], target["vocabulary"]) == (4, 6)
    assert source["characters"] == 3 * 11 + 500_000
    assert source["words_per_line"]["max"] == 100_000
    assert source["words_per_line"]["median"] == 3
    assert source["longest"] == "x:5"
    assert found["ratio"]["p50"] == 1.0
    assert found["ratio"]["p1"] == 0.0


def test_an_empty_corpus_has_zeros() -> None:
    assert statistics([])["source"]["words_per_line"]["mean"] == 0


@given(st.lists(st.integers(0, 50), min_size=1), st.sampled_from([1, 50, 95, 99, 100]))
def test_percentiles_are_those_of_the_sorted_list(values: list[int], percent: int) -> None:
    lengths = Lengths()
    for value in values:
        lengths.add(value)
    expected = np.percentile(values, percent, method="inverted_cdf")
    assert lengths.percentile(percent) == expected
    assert lengths.as_json()["mean"] == pytest.approx(np.mean(values), abs=0.0051)


def test_the_table_shows_the_long_line() -> None:
    rows = {row[0]: row[1:] for row in statistics_table(statistics(PAIRS))}
    assert rows["words per line, max"] == ("100,000", "3")
    assert rows["the line with most words"][0] == "x:5"
    assert rows["empty lines"] == ("1", "0")
