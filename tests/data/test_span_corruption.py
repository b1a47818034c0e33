"""What is cut out of texts, that it can be put back, and that it is the same again."""

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from peluche.data.batching import Position
from peluche.data.packing import PackingConfig
from peluche.data.span_corruption import (
    SpanCorruptionConfig,
    SpanStream,
    corrupt,
    random_spans,
)
from peluche.data.tokens import MixedTokens, Tokens
from peluche.errors import ConfigError, DataError
from peluche.text.tokenizer import TokenizerConfig

CONFIG = SpanCorruptionConfig()
FIRST, COUNT = 1000, 100
SENTINELS = range(FIRST, FIRST + COUNT)


def restored(source, target):
    """Every sentinel of the input replaced by what follows it in the target, by loops."""
    spans, place = {}, None
    for token in target:
        if token in SENTINELS:
            place = spans.setdefault(token, [])
        else:
            place.append(token)
    return [inner for token in source for inner in spans.get(token, [token])]


@given(
    st.integers(2, 200),
    st.floats(0.02, 0.45),
    st.floats(1, 6),
    st.integers(0, 1000),
)
def test_input_and_target_make_the_text_again(length, density, mean, seed):
    config = SpanCorruptionConfig(density=density, mean_span=mean)
    tokens = np.arange(4, 4 + length)
    hidden = random_spans(length, config, np.random.default_rng(seed))
    source, target = corrupt(tokens, hidden, SENTINELS)
    assert restored(source, target) == tokens.tolist()
    count, spans = config.spans(length)
    assert hidden.sum() == count
    assert (np.diff(np.concatenate([[0], hidden])) == 1).sum() == spans
    # With [EOS], they are as long as was reckoned.
    assert (len(source) + 1, len(target) + 1) == config.lengths(length)
    used = [token for token in source if token in SENTINELS]
    assert used == list(SENTINELS[:spans]) == [token for token in target if token in SENTINELS]


def test_t5s_sizes():
    """Inputs of 512 are made of 568 tokens and have targets of 114, as published."""
    assert CONFIG.raw_length(512) == 568
    assert CONFIG.lengths(568) == (512, 114)


@given(st.integers(4, 600))
def test_rows_are_filled_as_far_as_can_be(length):
    raw = CONFIG.raw_length(length)
    assert CONFIG.lengths(raw)[0] <= length < CONFIG.lengths(raw + 1)[0]


def test_density_and_mean_span():
    random = np.random.default_rng(0)
    masks = np.stack([random_spans(568, CONFIG, random) for _ in range(200)])
    assert masks.mean() == pytest.approx(0.15, abs=1e-3)
    begins = np.diff(masks.astype(int), axis=1, prepend=0) == 1
    assert masks.sum() / begins.sum() == pytest.approx(3, abs=0.05)
    # No place is hidden more often than another, but for the ends.
    shares = masks.reshape(200, 8, 71).mean((0, 2))
    assert shares.max() - shares.min() < 0.03


def test_every_way_to_place_spans_is_as_likely():
    config = SpanCorruptionConfig(density=0.4, mean_span=1)
    random = np.random.default_rng(0)
    found = {}
    for _ in range(3000):
        key = tuple(random_spans(5, config, random).tolist())
        found[key] = found.get(key, 0) + 1
    # Two tokens that do not touch, of five: six ways.
    assert len(found) == 6
    assert all(abs(count - 500) < 100 for count in found.values())


TEXTS = ["the quick brown bear", "a", "a bear reads a long book about a bear and a book " * 4]


@pytest.fixture(scope="module")
def tokenizer():
    special = SpanCorruptionConfig(sentinels=12).names()
    return TokenizerConfig(kind="character", special=special).build(TEXTS)


def stream(tokenizer, tokens=96, seed=0, length=32):
    encoded = tokenizer.encode_batch(TEXTS * 5, bos=True, eos=True)
    flat = np.array([number for ids in encoded for number in ids], dtype=np.uint16)
    config = PackingConfig(length=length, tokens=tokens)
    return SpanStream(flat, config, seed, SpanCorruptionConfig(sentinels=12), tokenizer)


def rows_of(batches, tokenizer):
    """The rows of batches as texts with sentinels, sorted."""
    rows = []
    for batch in batches:
        for ids, valid, target, said in zip(
            batch.source, batch.source_valid, batch.target_out, batch.target_valid, strict=True
        ):
            rows.append((tuple(ids[valid].tolist()), tuple(target[said].tolist())))
    return sorted(rows)


def test_pieces_are_whole_documents_in_order(tokenizer):
    source = stream(tokenizer)
    for epoch in range(3):
        begin, end = source.pieces(epoch)
        assert (end - begin).max() == source.raw
        text = "".join(
            tokenizer.decode(source.tokens.read(a, b - a)) for a, b in zip(begin, end, strict=True)
        )
        # A text of one token cannot be corrupted, nor the rest of one token of a long text.
        for whole in (TEXTS[0], TEXTS[2][5:-5]):
            assert text.count(whole) == 5
        inside = [
            tokenizer.eos_id in source.tokens.read(a, b - a)
            for a, b in zip(begin, end, strict=True)
        ]
        assert not any(inside)
    assert not np.array_equal(source.pieces(0)[0], source.pieces(1)[0])


def test_batches_hold_what_they_say(tokenizer):
    source = stream(tokenizer)
    for batch in source.once():
        assert batch.source.numel() <= 96 + 32
        assert batch.source.shape[1] <= 32
        assert (batch.target_in[:, 0] == tokenizer.bos_id).all()
        assert torch.equal(batch.target_in[:, 1:], batch.target_out[:, :-1].where(
            batch.target_valid[:, 1:], tokenizer.pad_id
        ))  # fmt: skip
        for ids, valid in zip(batch.source, batch.source_valid, strict=True):
            assert ids[valid][-1] == tokenizer.eos_id
    full = [batch for batch in source.once() if batch.source.shape[1] == 32]
    assert all(batch.source_valid.all(1).any() for batch in full)


def test_it_does_not_depend_on_the_batch(tokenizer):
    one, other = (rows_of(stream(tokenizer, tokens).once(), tokenizer) for tokens in (33, 400))
    assert one == other
    assert one != rows_of(stream(tokenizer, seed=1).once(), tokenizer)


def test_epochs_are_others_and_can_be_resumed(tokenizer):
    source = stream(tokenizer)
    size = source.batches_per_epoch()
    found = list(islice(source.batches(), 2 * size + 2))
    assert found[size - 1][1] == Position(0, 0, size)
    for at in (3, size - 1, size + 2):
        again, _ = next(stream(tokenizer).batches(found[at][1]))
        assert torch.equal(again.source, found[at + 1][0].source)
        assert torch.equal(again.target_out, found[at + 1][0].target_out)
    first = rows_of((batch for batch, _ in found[:size]), tokenizer)
    assert first == rows_of(source.once(), tokenizer)


def test_what_cannot_be_is_refused(tokenizer):
    with pytest.raises(ConfigError, match=r"mean_span 1\.5"):
        SpanCorruptionConfig.parse({"density": 0.6, "mean_span": 1})
    with pytest.raises(ConfigError, match="needs 28 sentinels and the tokenizer has 12"):
        stream(tokenizer, length=512, tokens=512)
    mixture = MixedTokens([Tokens.of(np.array([2, 5, 6, 3], dtype=np.uint16))], [1.0])
    with pytest.raises(ConfigError, match="spans are made of the documents of one corpus"):
        SpanStream(mixture, PackingConfig(length=32, tokens=64), 0, CONFIG, tokenizer)
    empty = np.array([2, 3] * 4 + [2, 5, 3], dtype=np.uint16)
    config = PackingConfig(length=32, tokens=64)
    with pytest.raises(DataError, match="2 tokens"):
        SpanStream(empty, config, 0, SpanCorruptionConfig(sentinels=12), tokenizer)
