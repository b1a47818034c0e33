"""Rows of tokens in several arrays, and mixtures of sources: every row once, shares exact."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peluche.data.packing import PackedStream, PackingConfig
from peluche.data.tokens import LARGE, SMALL, MixedTokens, Tokens, apportion, item_type


def cut(tokens, ends):
    pieces = np.split(tokens, sorted(ends))
    return Tokens([len(piece) for piece in pieces], pieces.__getitem__)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 50), max_size=6), st.integers(0, 60), st.integers(0, 60))
def test_many_arrays_are_one_row(ends, start, count):
    whole = np.arange(100, 150)
    tokens = cut(whole, ends)
    assert len(tokens) == 50
    assert tokens.read(start, count).tolist() == whole[start : start + count].tolist()


@pytest.mark.parametrize("ends", [[], [7], [7, 7, 8, 30]])
def test_batches_do_not_depend_on_how_tokens_lie(ends):
    whole = np.array([2, *range(4, 40), 3, 2, *range(40, 90), 3])
    config = PackingConfig(length=6, tokens=18)
    one, other = PackedStream(whole, config, 5), PackedStream(cut(whole, ends), config, 5)
    for (a, place), (b, there) in islice(zip(one.batches(), other.batches(), strict=False), 20):
        assert place == there
        assert (a.tokens == b.tokens).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 200), st.integers(2, 20), st.integers(0, 3))
def test_rows_of_an_epoch_do_not_overlap(count, length, epoch):
    starts = Tokens.of(np.zeros(count)).starts(epoch, length, 0)
    ordered = np.sort(starts)
    assert (np.diff(ordered) == length).all()
    assert ordered[0] < length
    assert ordered[-1] + length >= count - 1


def test_shares_are_by_tokens():
    """Of sources of 200, 50 and 400 rows."""
    sources = [
        Tokens.of(np.full(rows * 10 + 10, number)) for number, rows in enumerate((20, 5, 40))
    ]
    mixed = MixedTokens(sources, [3, 6, 1])
    bounds = np.cumsum([len(source) for source in sources])
    for epoch in range(3):
        starts = mixed.starts(epoch, 10, 0)
        counts = Counter(np.searchsorted(bounds, starts, side="right").tolist())
        assert [counts[n] for n in range(3)] == apportion(20 + 5 + 40, np.array([0.3, 0.6, 0.1]))
        assert {int(mixed.read(start, 1)[0]) for start in starts} == {0, 1, 2}
    # Shuffled over all sources: none of them is read at a stretch.
    owners = np.searchsorted(bounds, mixed.starts(0, 10, 0), side="right")
    assert set(owners[:20].tolist()) == set(owners[-20:].tolist()) == {0, 1, 2}


def test_a_source_that_has_run_out_goes_on_in_another_order():
    """The second has 4 rows and gives 8 an epoch, the first gives 4 of its 8."""
    sources = [Tokens.of(np.arange(90)), Tokens.of(np.arange(50))]
    mixed = MixedTokens(sources, [1, 2])
    small = []
    large = []
    for epoch in range(4):
        starts = mixed.starts(epoch, 10, 1)
        large.append({int(start) for start in starts if start < 90})
        small.append([int(start) - 90 for start in starts if start >= 90])
    assert [len(rows) for rows in small] == [8] * 4
    # Each pass of a source is one of its own epochs, begun or gone on with.
    for epoch, rows in enumerate(small):
        own = [sources[1].starts(2 * epoch + half, 10, 1)[:4].tolist() for half in (0, 1)]
        assert sorted(rows) == sorted(own[0] + own[1])
    assert len({tuple(rows) for rows in small}) == 4
    assert large[0] | large[1] == set(sources[0].starts(0, 10, 1)[:8].tolist())
    assert not large[0] & large[1]


def test_one_row_repeated_very_often():
    mixed = MixedTokens([Tokens.of(np.arange(10_000)), Tokens.of(np.arange(5))], [1, 9])
    starts = mixed.starts(0, 10, 0)
    assert len(starts) == 999 + 1
    assert (starts >= 10_000).sum() == 900


@pytest.mark.parametrize("skip", [1, 5, 13])
def test_a_mixture_goes_on_from_any_position(skip):
    mixed = MixedTokens([Tokens.of(np.arange(4, 90)), Tokens.of(np.arange(100, 130))], [1, 3])
    stream = PackedStream(mixed, PackingConfig(length=6, tokens=12), 7)
    assert skip == 1 or stream.batches_per_epoch() > 5
    batches = list(islice(stream.batches(), 30))
    again = islice(stream.batches(batches[skip - 1][1]), 30 - skip)
    for (one, place), (other, expected) in zip(again, batches[skip:], strict=True):
        assert place == expected
        assert (one.tokens == other.tokens).all()


def test_apportion():
    assert apportion(10, np.array([0.5, 0.25, 0.25])) == [5, 3, 2]
    assert apportion(7, np.array([1.0])) == [7]
    assert sum(apportion(1000, np.full(7, 1 / 7))) == 1000


def test_two_bytes_where_they_are_enough():
    assert item_type(65536) == SMALL
    assert item_type(65537) == LARGE
