"""Logits of n-grams: against naive Bayes by hand, and what must not change them."""

import math

import pytest
import torch

from peluche.config import parse_as
from peluche.data.classification import ClassificationBatch
from peluche.errors import ConfigError
from peluche.models.classifier import ClassifierConfig
from peluche.models.wide import NOTHING, WideConfig

TOKENS = torch.tensor([[5, 6, 7, 5, 6], [5, 6, 3, 0, 0], [8, 3, 0, 0, 0]])
VALID = TOKENS != 0
LABELS = torch.tensor([0, 0, 1])
BATCH = ClassificationBatch(TOKENS, VALID, None, LABELS)


def make(**changes):
    wide = WideConfig.parse({"buckets": 10_000, "prior": 1.0, **changes}).build(2).eval()
    wide.count([BATCH])
    return wide


def test_equal_to_naive_bayes_by_hand():
    """Single tokens: a text's logit is the mean-root sum of log ratios of smoothed shares."""
    wide = make(orders=[1])
    texts = [({5, 6, 7}, 0), ({5, 6, 3}, 0), ({8, 3}, 1)]
    vocabulary = 10_000

    def ratio(token, label):
        counts = [sum(token in text for text, said in texts if said == one) for one in (0, 1)]
        totals = [sum(len(text) for text, said in texts if said == one) for one in (0, 1)]
        shares = [(1 + counts[one]) / (vocabulary + totals[one]) for one in (0, 1)]
        return math.log(shares[label] / shares[1 - label])

    found = wide(TOKENS, VALID).detach()
    for row, (text, _) in enumerate(texts):
        for label in (0, 1):
            expected = sum(ratio(token, label) for token in text) / math.sqrt(len(text))
            assert float(found[row, label]) == pytest.approx(expected, abs=1e-4)


def test_an_ngram_counts_once_and_order_matters():
    wide = make(orders=[2])
    found = wide._buckets(TOKENS, VALID, None)
    # 5 6 | 6 7 | 7 5 | 5 6 again; 5 6 | 6 3; 8 3.
    assert (found != NOTHING).sum(1).tolist() == [3, 2, 1]
    swapped = wide._buckets(torch.tensor([[6, 5]]), torch.ones(1, 2, dtype=torch.bool), None)
    assert not torch.isin(swapped, found).any()


def test_segments_tell_ngrams_apart_and_unseen_ones_say_nothing():
    wide = make()
    segments = torch.ones_like(TOKENS)
    assert wide(TOKENS, VALID).abs().sum() > 0
    assert wide(TOKENS, VALID, segments).abs().sum() == 0


def test_a_text_shorter_than_the_ngrams():
    wide = make(orders=[1, 3])
    assert wide(TOKENS[2:, :1], VALID[2:, :1]).shape == (1, 2)
    assert not make(orders=[2, 3])(TOKENS[:, :1], VALID[:, :1]).any()


def test_it_stands_beside_an_encoder_and_is_trained():
    values = {"encoder": {"kind": "bag", "embedding": 6}, "pooling": "mean", "wide": {}}
    model = parse_as(ClassifierConfig, values).build(20, 2)
    model.count([BATCH])
    model.eval()
    hidden = model.hidden(TOKENS, VALID)
    assert hidden.shape == (3, 6 + 2)
    together = model.logits(hidden)
    torch.testing.assert_close(together, model.head(hidden[:, :6]) + model.wide(TOKENS, VALID))
    together.sum().backward()
    assert model.wide.weights.weight.grad.abs().sum() > 0
    assert "wide.ratios" in model.state_dict()


def test_dropped_ngrams_are_made_up_for():
    wide = make(dropout=0.5).train()
    torch.manual_seed(0)
    mean = torch.stack([wide(TOKENS, VALID) for _ in range(4000)]).mean(0)
    torch.testing.assert_close(mean, wide.eval()(TOKENS, VALID), atol=0.05, rtol=0)


def test_some_texts_are_read_without_ngrams():
    wide = make(dropout=0.0, absent=0.25)
    with_them = wide(TOKENS, VALID)
    wide.train()
    torch.manual_seed(0)
    drawn = torch.stack([wide(TOKENS, VALID) for _ in range(2000)])
    absent = (drawn == 0).all(-1)
    assert float(absent.float().mean()) == pytest.approx(0.25, abs=0.03)
    torch.testing.assert_close(drawn[~absent], with_them.expand_as(drawn)[~absent])


@pytest.mark.parametrize("orders", [[], [0, 1]])
def test_orders_that_are_none(orders):
    with pytest.raises(ConfigError, match="orders are one or more numbers"):
        WideConfig.parse({"orders": orders})


def test_a_training_text_is_read_with_what_the_others_say():
    wide = make(orders=[1], dropout=0.0, folds=3)
    folds = wide._fold(wide._buckets(TOKENS, VALID, None))[:, 0]
    # Otherwise this says nothing.
    assert len(set(folds.tolist())) > 1
    whole = wide(TOKENS, VALID)
    wide.train()
    found = wide(TOKENS, VALID)
    for row, fold in enumerate(folds.tolist()):
        others = folds != fold
        alone = WideConfig.parse({"buckets": 10_000, "prior": 1.0, "orders": [1]}).build(2).eval()
        alone.count([ClassificationBatch(TOKENS[others], VALID[others], None, LABELS[others])])
        torch.testing.assert_close(found[row], alone(TOKENS, VALID)[row])
    torch.testing.assert_close(make(orders=[1])(TOKENS, VALID), whole)
    assert set(wide.state_dict()) == {"ratios", "weights.weight", "prior"}


def test_what_only_training_needs_is_not_made_by_loading():
    trained = make(orders=[1], dropout=0.0, folds=3)
    loaded = WideConfig.parse(trained.config.model_dump()).build(2)
    loaded.load_state_dict(trained.state_dict())
    shapes = [tuple(each.shape) for each in (*loaded.parameters(), *loaded.buffers())]
    assert sum(map(math.prod, shapes)) == 1 + 2 * 10_000 * 2
    for training in (False, True):
        assert torch.equal(loaded.train(training)(TOKENS, VALID), trained(TOKENS, VALID))
    loaded.count([BATCH])
    assert torch.equal(loaded(TOKENS, VALID), trained.train()(TOKENS, VALID))
