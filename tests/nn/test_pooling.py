"""Pooling: closed forms, and padding that does not matter."""

import pytest
import torch

from peluche.nn.pooling import Pooling

HIDDEN = torch.tensor([[[1.0, 4.0], [3.0, 2.0], [9.0, 9.0]], [[5.0, 6.0], [9.0, 9.0], [9.0, 9.0]]])
VALID = torch.tensor([[True, True, False], [True, False, False]])


@pytest.mark.parametrize(
    ("kind", "directions", "expected"),
    [
        ("mean", 1, [[2, 3], [5, 6]]),
        ("max", 1, [[3, 4], [5, 6]]),
        ("last", 1, [[3, 2], [5, 6]]),
        ("last", 2, [[3, 4], [5, 6]]),
    ],
)
def test_closed_forms(kind, directions, expected):
    pooled = Pooling(kind, 2, directions)(HIDDEN, VALID)
    torch.testing.assert_close(pooled, torch.tensor(expected, dtype=torch.float32))


def test_attention_is_a_weighted_mean_and_equal_weights_are_the_mean():
    torch.manual_seed(0)
    pooling = Pooling("attention", 2)
    pooled = pooling(HIDDEN, VALID)
    assert (pooled >= HIDDEN.masked_fill(~VALID[:, :, None], torch.inf).amin(1) - 1e-6).all()
    assert (pooled <= HIDDEN.masked_fill(~VALID[:, :, None], -torch.inf).amax(1) + 1e-6).all()
    torch.nn.init.zeros_(pooling.weigh.weight)
    torch.testing.assert_close(pooling(HIDDEN, VALID), Pooling("mean", 2)(HIDDEN, VALID))


@pytest.mark.parametrize("kind", ["mean", "max", "last", "attention"])
def test_padding_changes_nothing(kind):
    torch.manual_seed(0)
    pooling = Pooling(kind, 2)
    alone = pooling(HIDDEN[:1, :2], VALID[:1, :2])
    torch.testing.assert_close(pooling(HIDDEN, VALID)[:1], alone)
