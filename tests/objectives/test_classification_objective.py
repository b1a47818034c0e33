"""The objective of classification: a closed form, and any cut into micro-batches."""

import math

import pytest
import torch
from torch import nn

from peluche.data.classification import ClassificationBatch
from peluche.models.classifier import Classifier
from peluche.objectives.classification import ClassificationConfig


class Fixed(Classifier):
    """Logits that are given."""

    def __init__(self, logits):
        nn.Module.__init__(self)
        self.given = nn.Parameter(logits)

    def hidden(self, tokens, valid, segments=None):
        return self.given[tokens[:, 0]]

    def parts(self, hidden):
        return [hidden]


class Twice(Fixed):
    """Two parts, the second with the labels the other way round."""

    def parts(self, hidden):
        return [hidden, hidden.flip(1)]


def batch_of(rows, labels):
    tokens = torch.tensor(rows)[:, None]
    return ClassificationBatch(
        tokens, torch.ones_like(tokens, dtype=torch.bool), None, torch.tensor(labels)
    )


def test_closed_form():
    model = Fixed(torch.tensor([[0.0, 0.0], [math.log(3), 0.0]]))
    losses = ClassificationConfig().build()(model, batch_of([0, 1], [0, 1]))
    assert losses.terms["loss"].total.item() == pytest.approx(math.log(2) + math.log(4))
    assert losses.terms["loss"].count == 2
    assert losses.metrics["accuracy"].total / losses.metrics["accuracy"].count == 50
    smoothed = ClassificationConfig(label_smoothing=0.2).build()(model, batch_of([1], [0]))
    expected = 0.9 * math.log(4 / 3) + 0.1 * math.log(4)
    assert smoothed.terms["loss"].total.item() == pytest.approx(expected)
    assert smoothed.metrics["nll"].total == pytest.approx(math.log(4 / 3))


def test_parts_are_trained_one_by_one_and_judged_together():
    model = Twice(torch.tensor([[math.log(3), 0.0]]))
    losses = ClassificationConfig().build()(model, batch_of([0], [0]))
    assert losses.terms["loss"].total.item() == pytest.approx(math.log(4 / 3) + math.log(4))
    assert losses.metrics["nll"].total == pytest.approx(math.log(2))


def test_micro_batches_add_up():
    objective = ClassificationConfig(label_smoothing=0.1).build()
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    gradients = []
    for cuts in ([[0, 1, 2, 3, 4]], [[0], [1, 2], [3, 4]]):
        model = Fixed(logits.clone())
        for rows in cuts:
            batch = batch_of(rows, [row % 4 for row in rows])
            objective(model, batch).terms["loss"].total.backward()
        gradients.append(model.given.grad)
    torch.testing.assert_close(*gradients)
