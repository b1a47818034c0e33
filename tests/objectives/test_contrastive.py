"""The contrastive objective: closed forms, the whole step, texts that are there twice."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from peluche.data.contrastive import ContrastiveBatch
from peluche.models.text_embedder import TextEmbedder, TextEmbedderConfig
from peluche.objectives.contrastive import ContrastiveConfig


class Fixed(TextEmbedder):
    """Vectors that are given, by a text's first token."""

    def __init__(self, vectors):
        nn.Module.__init__(self)
        self.given = nn.Parameter(vectors)

    def hidden(self, tokens, valid):
        return self.given[tokens[:, 0]]


def batch_of(sources, targets, width=2):
    def side(rows):
        tokens = torch.tensor(rows)[:, None].expand(-1, width).contiguous()
        return tokens, torch.ones_like(tokens, dtype=torch.bool)

    return ContrastiveBatch(*side(sources), *side(targets))


def loss_of(model, batch, **config):
    losses = ContrastiveConfig(**config).build()(model, batch)
    assert ContrastiveConfig().build().counts(batch) == {"loss": losses.terms["loss"].count}
    return losses.terms["loss"].total


def test_closed_form():
    model = Fixed(torch.eye(4) * 3)  # lengths do not count
    batch = batch_of([0, 1], [0, 2])
    # Cosines are [[1, 0], [0, 0]]: at temperature 1 the first pair has e / (e + 1), the other 1/2.
    expected = math.log(1 + math.exp(-1)) + math.log(2)
    assert loss_of(model, batch, temperature=1.0, symmetric=False).item() == pytest.approx(expected)
    hot = math.log(1 + math.exp(-2)) + math.log(2)
    assert loss_of(model, batch, temperature=0.5, symmetric=False).item() == pytest.approx(hot)
    losses = ContrastiveConfig().build()(model, batch_of([0, 1], [1, 1]))
    assert losses.metrics["accuracy"].total == 2 * 100  # the equal target is no negative


def test_both_directions():
    torch.manual_seed(0)
    model = Fixed(torch.randn(8, 5))
    batch = batch_of([0, 1, 2], [3, 4, 5])
    turned = batch_of([3, 4, 5], [0, 1, 2])
    one, other = (loss_of(model, each, symmetric=False) for each in (batch, turned))
    torch.testing.assert_close(loss_of(model, batch), (one + other) / 2)
    rows = F.normalize(model.given, dim=-1)
    expected = F.cross_entropy(rows[:3] @ rows[3:6].T / 0.05, torch.arange(3), reduction="sum")
    torch.testing.assert_close(one, expected)


def test_equal_texts_are_no_negatives():
    torch.manual_seed(0)
    model = Fixed(torch.randn(6, 5))
    alone = loss_of(model, batch_of([0, 2], [1, 3]), symmetric=False)
    # Both of the first two rows have target 1, against which only target 3 is held.
    twice = loss_of(model, batch_of([0, 0, 2], [1, 1, 3]), symmetric=False)
    rows = F.normalize(model.given, dim=-1)
    scores = rows[[0, 2]] @ rows[[1, 3]].T / 0.05
    first = F.cross_entropy(scores[:1], torch.tensor([0]))
    last = F.cross_entropy(torch.cat([scores[1:, :1], scores[1:]], 1), torch.tensor([2]))
    torch.testing.assert_close(twice, 2 * first + last)
    assert twice > alone


def test_a_step_is_one_batch():
    torch.manual_seed(0)
    model = Fixed(torch.randn(8, 5))
    assert ContrastiveConfig().build().whole_step
    parts = [batch_of([0, 1], [4, 5], 2), batch_of([2], [6], 3), batch_of([3], [7], 1)]
    joined = ContrastiveBatch.join(parts)
    assert joined.source.tolist() == [[0, 0, 0], [1, 1, 0], [2, 2, 2], [3, 0, 0]]
    assert joined.target_valid.sum(1).tolist() == [2, 2, 3, 1]
    assert joined.target_tokens == 16
    whole = loss_of(model, batch_of([0, 1, 2, 3], [4, 5, 6, 7]))
    torch.testing.assert_close(loss_of(model, joined), whole)


@pytest.mark.parametrize("pooling", ["first", "mean", "max", "last", "attention"])
def test_padding_and_company_change_no_vector(pooling):
    torch.manual_seed(0)
    encoder = {"kind": "transformer", "d_model": 8, "layers": 1, "heads": 2, "d_ff": 16}
    model = TextEmbedderConfig.parse({"encoder": encoder, "pooling": pooling}).build(9).eval()
    tokens = torch.tensor([[1, 2, 3, 0], [4, 5, 6, 7]])
    together = model.hidden(tokens, tokens > 0)
    alone = model.hidden(tokens[:1, :3], tokens[:1, :3] > 0)
    torch.testing.assert_close(together[:1], alone)
    torch.testing.assert_close(together.norm(dim=-1), torch.ones(2))
