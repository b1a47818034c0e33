"""The unigram trainer against the plain definitions, by enumerating every cut."""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peluche.text.unigram import Lattice, _losses, learn_pieces

SCORES = {"a": -2.0, "b": -2.5, "c": -4.0, "ab": -2.2, "ba": -3.0, "abc": -5.0, "bab": -3.5}
NUMBERS = {piece: number for number, piece in enumerate(SCORES)}
ARRAY = np.array(list(SCORES.values()))


def cuts(string: str) -> list[list[str]]:
    """Every way to cut a string into known pieces."""
    found = []
    for many in range(len(string)):
        for places in combinations(range(1, len(string)), many):
            bounds = [0, *places, len(string)]
            parts = [string[a:b] for a, b in pairwise(bounds)]
            if all(part in SCORES for part in parts):
                found.append(parts)
    return found


def score(parts: list[str]) -> float:
    return sum(SCORES[part] for part in parts)


@given(
    counts=st.dictionaries(st.text("abc", min_size=1, max_size=7), st.integers(1, 9), min_size=1)
)
@settings(deadline=None)
def test_expected_counts_are_averages_over_all_cuts(counts: dict[str, int]) -> None:
    expected = Counter[str]()
    for string, count in counts.items():
        total = sum(math.exp(score(parts)) for parts in cuts(string))
        for parts in cuts(string):
            for part in parts:
                expected[part] += count * math.exp(score(parts)) / total
    found = Lattice(counts, NUMBERS).expected_counts(ARRAY, np.array(list(counts.values()), float))
    np.testing.assert_allclose(found, [expected[piece] for piece in SCORES], rtol=1e-9, atol=1e-12)


@given(strings=st.lists(st.text("abc", min_size=1, max_size=7), min_size=1), proper=st.booleans())
@settings(deadline=None)
def test_best_cuts_are_the_likeliest(strings: list[str], proper: bool) -> None:
    owners, pieces = Lattice(strings, NUMBERS, proper=proper).best_cuts(ARRAY)
    for number, string in enumerate(strings):
        allowed = [score(parts) for parts in cuts(string) if not (proper and parts == [string])]
        found = ARRAY[pieces[owners == number]]
        if allowed:
            assert found.sum() == pytest.approx(max(allowed))
        else:
            assert len(found) == 0


def test_pieces_that_are_dropped_are_not_used() -> None:
    lattice = Lattice(["abc"], NUMBERS)
    lattice.keep(np.array([piece not in ("abc", "ab") for piece in SCORES]))
    _, pieces = lattice.best_cuts(ARRAY)
    assert sorted(pieces) == [NUMBERS["a"], NUMBERS["b"], NUMBERS["c"]]


def test_losses() -> None:
    """Ten times "ab" and five times "a": what it costs to do without "ab"."""
    words = {"ab": 10, "a": 5}
    counts = np.array([10.0, 5.0])
    recuts = Lattice(SCORES, NUMBERS, proper=True)
    losses = _losses(Lattice(words, NUMBERS), recuts, ARRAY, counts)
    with_piece = 10 * math.log(10 / 15)
    without = 10 * (math.log(15 / 25) + math.log(10 / 25))
    assert losses[NUMBERS["ab"]] == pytest.approx(with_piece - without)
    assert losses[NUMBERS["a"]] == math.inf
    assert losses[NUMBERS["ba"]] == -math.inf


def test_frequent_words_become_pieces() -> None:
    words = {"▁and": 50, "▁woman": 40, "▁sand": 1, "▁wo": 1, "▁d": 3}
    found = dict(learn_pieces(words, 11))
    assert len(found) == 11
    assert {"▁and", "▁woman"} <= set(found)
    assert set("▁andwoms") <= set(found)
    assert max(found, key=lambda piece: found[piece]) == "▁and"


def test_pieces_are_sorted_and_distinct() -> None:
    endings = ("ing", "ed", "s")
    words = {f"▁{a}{b}{c}": 5 for a in "abcde" for b in "fgh" for c in endings}
    found = learn_pieces(words, 25)
    assert [value for _, value in found] == sorted((value for _, value in found), reverse=True)
    assert len({piece for piece, _ in found}) == len(found) == 25


def test_words_with_few_substrings_give_fewer_pieces() -> None:
    assert {piece for piece, _ in learn_pieces({"▁a": 1}, 100)} == {"▁", "a"}
    assert {piece for piece, _ in learn_pieces({"▁a": 2}, 100)} == {"▁", "a", "▁a"}
    assert {piece for piece, _ in learn_pieces({"a": 2}, 1)} == {"a"}


def test_a_very_long_word() -> None:
    found = learn_pieces({"ab" * 5000: 1, "▁a": 3}, 20)
    assert all(math.isfinite(value) for _, value in found)
