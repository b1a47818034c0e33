"""The objective of question answering: a closed form, and any cut into micro-batches."""

import math

import pytest
import torch
from torch import nn

from peluche.data.answering import AnswerBatch
from peluche.models.answerer import Answerer, AnswererConfig, SpanScores
from peluche.objectives.answering import AnswerSpanConfig


class Fixed(Answerer):
    """Scores that are given, by row."""

    def __init__(self, scores):
        nn.Module.__init__(self)
        self.given = nn.Parameter(scores)

    def scores(self, batch):
        found = self.given[batch.tokens[:, 0]].masked_fill(~batch.allowed[:, :, None], -torch.inf)
        return SpanScores(*found.unbind(-1))


def batch_of(rows, starts, ends, allowed=None):
    tokens = torch.tensor(rows)[:, None].expand(-1, 4).contiguous()
    everything = torch.ones_like(tokens, dtype=torch.bool)
    return AnswerBatch(
        tokens, everything, torch.zeros_like(tokens),
        everything if allowed is None else torch.tensor(allowed),
        torch.tensor(starts), torch.tensor(ends),
    )  # fmt: skip


def test_closed_form():
    scores = torch.zeros(2, 4, 2)
    scores[0, 2, 1] = math.log(5)
    losses = AnswerSpanConfig().build()(Fixed(scores), batch_of([0, 1], [1, 0], [2, 3]))
    # Row 0: 1/4 and 5/8; row 1: 1/4 twice.
    expected = (math.log(4) + math.log(8 / 5)) / 2 + math.log(4)
    assert losses.terms["loss"].total.item() == pytest.approx(expected)
    assert losses.terms["loss"].count == 2
    held = batch_of([1], [1], [1], [[True, True, False, False]])
    losses = AnswerSpanConfig().build()(Fixed(scores), held)
    assert losses.terms["loss"].total.item() == pytest.approx(math.log(2))


def test_micro_batches_add_up():
    scores = torch.randn(5, 4, 2, generator=torch.Generator().manual_seed(0))
    gradients = []
    for cuts in ([[0, 1, 2, 3, 4]], [[0], [1, 2], [3, 4]]):
        model = Fixed(scores.clone())
        for rows in cuts:
            batch = batch_of(rows, [row % 3 for row in rows], [3 for _ in rows])
            assert AnswerSpanConfig().build().counts(batch) == {"loss": len(rows)}
            AnswerSpanConfig().build()(model, batch).terms["loss"].total.backward()
        gradients.append(model.given.grad)
    torch.testing.assert_close(*gradients)


def test_nothing_begins_where_no_answer_may_be():
    torch.manual_seed(0)
    encoder = {"kind": "recurrent", "embedding": 4, "hidden": 4}
    model = AnswererConfig.parse({"encoder": encoder}).build(9).eval()
    allowed = torch.tensor([[True, False, True, False]])
    batch = batch_of([3], [0], [0], allowed.tolist())
    for scores in model.scores(batch):
        assert torch.equal(torch.isfinite(scores), allowed)
