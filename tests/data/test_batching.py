"""Batches respect the budget, every pair comes once an epoch, and any position can be resumed."""

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from peluche.data.batching import BatchingConfig, PairWindow, Position, TranslationStream
from peluche.data.sources import Pair
from peluche.errors import DataError
from peluche.text.tokenizer import TokenizerConfig

WORDS = ["bear", "ours", "cute", "mignon", "reads", "lit", "book", "livre"]


def pairs_of(count: int) -> list[Pair]:
    random = np.random.default_rng(7)

    def text() -> str:
        return " ".join(random.choice(WORDS, size=random.integers(1, 9)))

    return [Pair(text(), text(), f"here:{line}") for line in range(1, count + 1)]


@pytest.fixture(scope="module")
def tokenizer():
    return TokenizerConfig(kind="word", vocab_size=20).build(WORDS)


def stream_of(tokenizer, count=60, **options):
    options.setdefault("tokens", 40)
    return TranslationStream(lambda: pairs_of(count), tokenizer, BatchingConfig(**options), seed=3)


@given(
    lengths=st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=60),
    tokens=st.integers(20, 90),
    shuffled=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_plan_holds_every_row_once_within_the_budget(lengths, tokens, shuffled):
    window = PairWindow([[5] * s for s, _ in lengths], [[5] * t for _, t in lengths])
    plan = window.plan(tokens, np.random.default_rng(0) if shuffled else None)
    assert sorted(int(row) for rows in plan for row in rows) == list(range(len(lengths)))
    for rows in plan:
        assert max(max(lengths[row]) for row in rows) * len(rows) <= tokens


def test_a_batch_shifts_the_target_and_pads(tokenizer):
    window = PairWindow([[5, 3], [6, 7, 3]], [[4, 5, 3], [6, 3]])
    batch = window.batch(np.array([0, 1]))
    assert batch.source.tolist() == [[5, 3, 0], [6, 7, 3]]
    assert batch.source_valid.tolist() == [[True, True, False], [True, True, True]]
    assert batch.target_in.tolist() == [[2, 4, 5], [2, 6, 0]]
    assert batch.target_out.tolist() == [[4, 5, 3], [6, 3, 0]]
    assert (batch.source_tokens, batch.target_tokens) == (5, 5)


@pytest.mark.parametrize("window", [None, 17])
def test_any_position_can_be_resumed(tokenizer, window):
    def order():
        return stream_of(tokenizer, window=window)

    through = list(islice(order().batches(), 40))
    assert through[-1][1].epoch >= 1
    for start in (0, 3, 11, 25):
        position = through[start][1]
        again = list(islice(order().batches(position), 40 - start - 1))
        for (batch, reached), (expected, expected_reached) in zip(
            again, through[start + 1 :], strict=True
        ):
            assert reached == expected_reached
            assert torch.equal(batch.source, expected.source)
            assert torch.equal(batch.target_out, expected.target_out)


@pytest.mark.parametrize("window", [None, 17])
def test_an_epoch_has_every_pair_once_and_epochs_differ_in_order(tokenizer, window):
    stream = stream_of(tokenizer, window=window)
    expected = sorted(tuple(tokenizer.encode(pair.target, eos=True)) for pair in pairs_of(60))
    epochs: dict[int, list[tuple[int, ...]]] = {0: [], 1: []}
    for batch, position in stream.batches():
        if position.epoch > 1:
            break
        for row, valid in zip(batch.target_out, batch.target_valid, strict=True):
            epochs[position.epoch].append(tuple(row[valid].tolist()))
    assert sorted(epochs[0]) == sorted(epochs[1]) == expected
    assert epochs[0] != epochs[1]
    assert stream.batches_per_epoch() == len(list(stream.once())) or window is not None


def test_long_pairs_are_left_out_and_said(tokenizer):
    said: list[str] = []
    pairs = [*pairs_of(5), Pair("bear " * 100_000, "ours", "huge.en:6")]
    stream = TranslationStream(lambda: pairs, tokenizer, BatchingConfig(tokens=40), say=said.append)
    rows = sum(len(batch.source) for batch in stream.once())
    assert rows == 5
    assert len(said) == 1
    assert "left out 1 of 6" in said[0]
    assert "huge.en:6" in said[0]


def test_a_corpus_without_usable_pairs_is_refused(tokenizer):
    stream = TranslationStream(
        lambda: [Pair("bear " * 99, "ours", "x:1")], tokenizer, BatchingConfig(max_length=8)
    )
    with pytest.raises(DataError, match="nothing to train on"):
        next(stream.batches())


def test_position_starts_at_zero():
    assert Position() == (0, 0, 0)
