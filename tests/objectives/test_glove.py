"""GloVe's loss and the counts it is about."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from peluche.data.batching import Position
from peluche.data.cooccurrence import (
    RECORD,
    CooccurrenceBatch,
    CooccurrenceConfig,
    CooccurrenceStream,
    count_cooccurrences,
)
from peluche.data.token_stream import ITEM, TokenStream
from peluche.errors import DataError
from peluche.models.word_vectors import GloveConfig
from peluche.objectives.glove import GloveLossConfig


def corpus(tmp_path, tokens, chunk=1000):
    path = tmp_path / "corpus.bin"
    np.array(tokens, dtype=ITEM).tofile(path)
    return TokenStream(path, chunk)


@pytest.mark.parametrize("held", [10**6, 50])
def test_counts_are_those_of_the_definition(tmp_path, held):
    random = np.random.default_rng(0)
    tokens = np.where(random.random(400) < 0.1, -1, random.integers(0, 12, 400)).tolist()
    expected = Counter()
    for place, one in enumerate(tokens):
        for distance in (1, 2, 3):
            window = tokens[place : place + distance + 1]
            if len(window) == distance + 1 and -1 not in window:
                expected[one, window[-1]] += 1 / distance
                expected[window[-1], one] += 1 / distance
    path = tmp_path / "counts.bin"
    count_cooccurrences(corpus(tmp_path, tokens), 12, CooccurrenceConfig(size=3), path, held)
    records = np.fromfile(path, dtype=RECORD)
    found = {divmod(int(key), 12): float(count) for key, count in records}
    assert len(found) == len(records)
    assert found == pytest.approx(dict(expected), rel=1e-6)
    assert sorted(path.parent.iterdir()) == [path.parent / "corpus.bin", path]


def test_a_corpus_without_neighbours_is_an_error(tmp_path):
    stream = corpus(tmp_path, [0, -1, 1, -1])
    with pytest.raises(DataError, match="no word of the corpus has a neighbour"):
        count_cooccurrences(stream, 2, CooccurrenceConfig(), tmp_path / "counts.bin")


def test_every_epoch_has_every_pair_and_can_be_entered_anywhere(tmp_path):
    records = np.zeros(1000, dtype=RECORD)
    records["key"], records["count"] = np.arange(1000), 1
    path = tmp_path / "counts.bin"
    records.tofile(path)
    stream = CooccurrenceStream(path, 100, pairs=130, seed=3)
    batches = stream.batches()
    epochs = [[next(batches) for _ in range(stream.batches_per_epoch())] for _ in range(2)]
    keys = [[(b.words * 100 + b.contexts).tolist() for b, _ in epoch] for epoch in epochs]
    for epoch in keys:
        assert sorted(key for batch in epoch for key in batch) == list(range(1000))
    assert keys[0] != keys[1]
    position = epochs[0][2][1]
    assert position == Position(0, 0, 3)
    again, _ = next(stream.batches(position))
    assert (again.words * 100 + again.contexts).tolist() == keys[0][3]


def test_the_loss_is_the_formula():
    torch.manual_seed(0)
    model = GloveConfig(dimensions=4).build(3)
    counts = [0.5, 10.0, 400.0]
    batch = CooccurrenceBatch(
        torch.tensor([0, 1, 2]), torch.tensor([1, 1, 0]), torch.tensor(counts)
    )
    term = GloveLossConfig().build()(model, batch).terms["loss"]
    total = 0.0
    for word, context, count in zip([0, 1, 2], [1, 1, 0], counts, strict=True):
        product = model.words.weight[word] @ model.contexts.weight[context]
        biases = model.word_bias.weight[word, 0] + model.context_bias.weight[context, 0]
        error = float((product + biases).detach()) - math.log(count)
        total += min(1.0, count / 100) ** 0.75 * error**2
    assert float(term.total.detach()) == pytest.approx(total, rel=1e-5)
    assert term.count == 3
    torch.testing.assert_close(model.vectors(), model.words.weight + model.contexts.weight)
