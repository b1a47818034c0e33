"""Packed documents: every token once, labels that end with the document, an order that resumes."""

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from peluche.data.packing import PackedStream, PackingConfig
from peluche.data.tokens import SMALL
from peluche.text.tokenizer import SpecialIds

PAD, _, BOS, EOS = range(4)


def corpus(*lengths):
    """Documents of so many tokens, all of them different."""
    numbers = iter(range(4, 60000))
    documents = [[BOS, *(next(numbers) for _ in range(length)), EOS] for length in lengths]
    return np.array([token for document in documents for token in document], dtype=SMALL)


def stream(tokens, length, rows, seed=0):
    return PackedStream(tokens, PackingConfig(length=length, tokens=length * rows), seed)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=8), st.integers(2, 16), st.integers(1, 4))
def test_once_says_every_token_once_and_nothing_after_an_end(lengths, length, rows):
    tokens = corpus(*lengths)
    said, pairs = [], []
    for batch in stream(tokens, length, rows).once():
        assert batch.tokens.shape[1] == length
        said += batch.labels[batch.valid].tolist()
        pairs += zip(
            batch.tokens[batch.valid].tolist(), batch.labels[batch.valid].tolist(), strict=True
        )
        assert batch.target_tokens == int(batch.valid.sum())
    assert said == [token for token in tokens.tolist() if token != BOS]
    assert all(before != EOS for before, _ in pairs)


def test_documents_are_numbered_within_a_row():
    (batch,) = stream(corpus(3, 1, 4), 14, 1).once()
    assert batch.document_ids.tolist() == [[0] * 5 + [1] * 3 + [2] * 6]
    one, two = stream(corpus(3, 1, 4), 7, 1).once()
    assert one.document_ids.tolist() == [[0] * 5 + [1] * 2]
    assert two.document_ids.tolist() == [[0] + [1] * 6]
    begins = next(stream(corpus(5, 2), 7, 1).once().__iter__())
    assert begins.document_ids.tolist() == [[0] * 7]


def test_documents_without_a_beginning_begin_after_an_end():
    """As of GPT-2 and SmolLM2, which pad by [EOS] too."""
    marks = SpecialIds(pad=EOS, unk=-1, bos=-1, eos=EOS)
    tokens = np.array([5, 6, EOS, 7, EOS, EOS, 8, 9, 10, EOS], dtype=SMALL)
    (batch,) = PackedStream(tokens, PackingConfig(length=12, tokens=12), special=marks).once()
    assert batch.document_ids[0, :10].tolist() == [0, 0, 0, 1, 1, 2, 3, 3, 3, 3]
    assert batch.tokens[0, 10:].tolist() == [EOS, EOS]
    assert batch.labels[batch.valid].tolist() == [6, EOS, EOS, 9, 10, EOS]
    one, two = PackedStream(tokens, PackingConfig(length=5, tokens=5), special=marks).once()
    assert one.document_ids.tolist() == [[0, 0, 0, 1, 1]]
    assert one.labels[one.valid].tolist() == [6, EOS, EOS]  # not what begins the next row
    assert two.document_ids.tolist() == [[0, 1, 1, 1, 1]]
    assert two.labels[two.valid].tolist() == [9, 10, EOS]


def test_an_epoch_reads_all_but_a_front_of_less_than_a_row():
    tokens = corpus(*[9] * 20)
    found = stream(tokens, 8, 3)
    count = found.batches_per_epoch()
    read = list(islice(found.batches(), count))
    assert [position.batch for _, position in read] == list(range(1, count + 1))
    said = sorted(label for batch, _ in read for label in batch.labels[batch.valid].tolist())
    everything = sorted(token for token in tokens.tolist() if token != BOS)
    assert len(set(everything) - set(said)) < 8
    later = [batch.tokens for batch, _ in islice(found.batches(), count, count + 2)]
    assert not torch.equal(later[0], read[0][0].tokens)


@pytest.mark.parametrize("skip", [1, 4, 11])
def test_it_goes_on_from_any_position(skip):
    found = stream(corpus(*[7] * 12), 6, 2, seed=3)
    batches = list(islice(found.batches(), 14))
    position = batches[skip - 1][1]
    again = list(islice(found.batches(position), 14 - skip))
    for (one, place), (other, expected) in zip(again, batches[skip:], strict=True):
        assert place == expected
        assert torch.equal(one.tokens, other.tokens)
        assert torch.equal(one.valid, other.valid)


def test_seeds_differ():
    one, other = (
        next(stream(corpus(*[30] * 20), 8, 4, seed).batches())[0].tokens for seed in (0, 1)
    )
    assert not torch.equal(one, other)
