"""Classifiers: what surrounds a text does not change what it is called."""

import pytest
import torch

from peluche.config import parse_as
from peluche.errors import ConfigError
from peluche.models.classifier import ClassifierConfig

VOCABULARY, LABELS = 20, 3
ENCODERS = {
    "recurrent": {"kind": "recurrent", "embedding": 6, "hidden": 4, "layers": 2},
    "gru": {"kind": "recurrent", "cell": "gru", "hidden": 4, "bidirectional": False},
    "convolutional": {"kind": "convolutional", "embedding": 6, "filters": 4, "widths": [2, 3]},
    "transformer": {"kind": "transformer", "d_model": 8, "layers": 2, "heads": 2, "d_ff": 16},
    "rotary": {"kind": "transformer", "d_model": 8, "layers": 1, "heads": 2, "positions": "rope"},
    "bag": {"kind": "bag", "embedding": 6},
}
TOKENS = torch.tensor([[5, 6, 7, 8, 3], [9, 10, 3, 0, 0], [3, 0, 0, 0, 0]])
VALID = torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [True] + [False] * 4])


def make(encoder, pooling="max"):
    torch.manual_seed(0)
    values = {"encoder": ENCODERS[encoder], "pooling": pooling}
    model = parse_as(ClassifierConfig, values).build(VOCABULARY, LABELS).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("pooling", ["max", "mean", "last", "attention"])
def test_batched_and_padded_equal_one_by_one(encoder, pooling):
    model = make(encoder, pooling)
    with torch.no_grad():
        together = model.logits(model.hidden(TOKENS, VALID))
        for row in range(3):
            length = int(VALID[row].sum())
            alone = model.hidden(TOKENS[row : row + 1, :length], VALID[row : row + 1, :length])
            torch.testing.assert_close(
                model.logits(alone), together[row : row + 1], atol=1e-5, rtol=0
            )


@pytest.mark.parametrize("encoder", ENCODERS)
def test_what_stands_at_padding_does_not_matter(encoder):
    model = make(encoder)
    changed = TOKENS.masked_fill(~VALID, 15)
    with torch.no_grad():
        torch.testing.assert_close(
            model.hidden(changed, VALID), model.hidden(TOKENS, VALID), atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("encoder", ENCODERS)
def test_segments_matter(encoder):
    model = make(encoder)
    segments = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 1, 0, 0], [0] * 5])
    with torch.no_grad():
        apart = model.hidden(TOKENS, VALID, segments)
        together = model.hidden(TOKENS, VALID, torch.zeros_like(segments))
    assert not torch.allclose(apart[0], together[0])
    torch.testing.assert_close(apart[2], together[2])


def test_dropped_tokens_change_training_alone():
    torch.manual_seed(0)
    values = {"encoder": {"kind": "bag", "token_dropout": 0.5, "dropout": 0.0}, "dropout": 0.0}
    model = parse_as(ClassifierConfig, values).build(VOCABULARY, LABELS)
    trained = [model.hidden(TOKENS, VALID) for _ in range(2)]
    assert not torch.equal(*trained)
    model.eval()
    assert torch.equal(model.hidden(TOKENS, VALID), model.hidden(TOKENS, VALID))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"encoder": {"kind": "recurent"}}, "recurrent"),
        ({"encoder": {"kind": "convolutional", "widths": []}}, "widths are one or more"),
        ({"encoder": {"kind": "transformer", "d_model": 10, "heads": 4}}, "not divisible"),
        ({"pooling": "mix"}, "max"),
    ],
)
def test_impossible_classifiers_are_refused(values, said):
    with pytest.raises(ConfigError, match=said):
        parse_as(ClassifierConfig, values)
