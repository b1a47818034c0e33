"""Averages of weights against the sums they stand for."""

import pytest
import torch
from torch import nn

from peluche.training.averaging import ExponentialConfig, LastConfig, replaced


def scalar_model(value: float) -> nn.Linear:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


def test_exponential_average_is_the_recurrence():
    model = scalar_model(1.0)
    averaging = ExponentialConfig(decay=0.5).build(model)
    expected = 1.0
    for step, value in enumerate([2.0, 5.0, -1.0, 4.0], start=1):
        nn.init.constant_(model.weight, value)
        averaging.update(model, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert averaging.weights()["weight"].item() == pytest.approx(expected)


def test_last_average_is_the_mean_of_the_last_snapshots():
    model = scalar_model(0.0)
    averaging = LastConfig(count=3).build(model)
    for value in [100.0, 1.0, 2.0, 6.0]:
        nn.init.constant_(model.weight, value)
        averaging.snapshot(model)
    assert averaging.weights()["weight"].item() == pytest.approx(3.0)


@pytest.mark.parametrize("config", [ExponentialConfig(), LastConfig(count=2)])
def test_applied_gives_the_model_its_own_weights_back(config):
    model = scalar_model(1.0)
    averaging = config.build(model)
    averaging.snapshot(model)
    nn.init.constant_(model.weight, 9.0)
    with replaced(model, averaging.weights()):
        assert model.weight.item() == 1.0
    assert model.weight.item() == 9.0


@pytest.mark.parametrize("config", [ExponentialConfig(), LastConfig(count=12)])
def test_state_round_trip(config):
    model = scalar_model(1.0)
    averaging = config.build(model)
    for value in range(11):
        nn.init.constant_(model.weight, float(value))
        averaging.update(model, value + 1)
        averaging.snapshot(model)
    again = config.build(scalar_model(0.0))
    again.load_state({"model": {}, **averaging.state()})
    assert torch.equal(again.weights()["weight"], averaging.weights()["weight"])
    nn.init.constant_(model.weight, 50.0)
    for one in (averaging, again):
        one.update(model, 12)
        one.snapshot(model)
    assert torch.equal(again.weights()["weight"], averaging.weights()["weight"])
