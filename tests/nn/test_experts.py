"""Mixtures of experts against a loop over tokens, and what keeps their routers in order."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from peluche.errors import ConfigError
from peluche.nn.experts import Experts, ExpertsConfig, Routing, collecting
from peluche.nn.feedforward import FeedForward

D_MODEL, D_FF = 8, 12


def experts(kind="swiglu", shared=None, **changes):
    torch.manual_seed(0)
    config = ExpertsConfig.parse({"count": 4, "active": 2, **changes})
    return Experts(config, D_MODEL, D_FF, kind, shared)


def by_token(layer, rows):
    """The lecture's formula, a token at a time: router, top-k, softmax over the chosen, sum."""
    mixed = torch.zeros_like(rows)
    for number, row in enumerate(rows):
        scores = layer.router.weight @ row
        best = scores.topk(layer.config.active)
        for weight, expert in zip(best.values.softmax(0), best.indices.tolist(), strict=True):
            inside = layer.up[expert] @ row
            if layer.gate is not None:
                inside = F.silu(layer.gate[expert] @ row) * inside
            else:
                inside = F.relu(inside)
            mixed[number] = mixed[number] + weight * (layer.down[expert] @ inside)
    return mixed


@pytest.mark.parametrize("active", [1, 2, 4])
@pytest.mark.parametrize("kind", ["swiglu", "relu"])
def test_it_is_its_formula_forward_and_backward(kind, active):
    layer = experts(kind, active=active)
    hidden = torch.randn(3, 5, D_MODEL, requires_grad=True)
    weights = [hidden, *layer.parameters()]
    found, expected = layer(hidden), by_token(layer, hidden.flatten(0, 1)).view_as(hidden)
    torch.testing.assert_close(found, expected)
    for got, wanted in zip(
        torch.autograd.grad(found.square().sum(), weights, allow_unused=True),
        torch.autograd.grad(expected.square().sum(), weights, allow_unused=True),
        strict=True,
    ):
        # With one expert active its weight is always one, and the router learns nothing.
        if active > 1 or got is not None:
            torch.testing.assert_close(got, torch.zeros_like(got) if wanted is None else wanted)


def test_experts_that_nobody_chooses_rest():
    layer = experts()
    layer.preference[1] = -10
    layer(torch.randn(20, 3, D_MODEL)).square().sum().backward()
    assert torch.equal(layer.up.grad[1], torch.zeros(D_FF, D_MODEL))
    assert layer.up.grad[[0, 2, 3]].abs().amax((1, 2)).min() > 0


def test_shared_experts_are_added():
    shared = FeedForward(D_MODEL, 6, "relu", bias=False, dropout=0.0)
    layer, hidden = experts(shared=shared), torch.randn(2, 3, D_MODEL)
    alone = layer(hidden) - shared(hidden)
    layer.shared = None
    torch.testing.assert_close(alone, layer(hidden))


def test_capacity_drops_the_last_tokens_of_a_crowded_expert():
    layer = experts(active=1, capacity=1.0)
    with torch.no_grad():
        layer.router.weight.zero_()
    layer.preference[2] = 1  # all choose expert 2, whose share is 2 of 8
    hidden = torch.randn(1, 8, D_MODEL)
    found = layer(hidden)
    assert torch.equal(found[0, 2:], torch.zeros(6, D_MODEL))
    assert found[0, :2].abs().amax(-1).min() > 0


def test_sigmoid_scores_are_brought_to_a_sum_of_one():
    layer = experts(score="sigmoid")
    routing = layer.route(torch.randn(6, D_MODEL))
    scores = routing.logits.sigmoid().gather(1, routing.chosen)
    torch.testing.assert_close(routing.weights, scores / scores.sum(1, keepdim=True))


def test_even_routing_has_balance_one_and_collapse_has_more():
    even = Routing(torch.zeros(4, 4), torch.arange(4)[:, None], torch.ones(4, 1))
    assert float(even.balance_loss()) == pytest.approx(1.0)
    logits = torch.tensor([9.0, 0, 0, 0]).expand(4, 4)
    collapsed = Routing(logits, torch.zeros(4, 1, dtype=torch.long), torch.ones(4, 1))
    assert float(collapsed.balance_loss()) == pytest.approx(4 * float(logits[0].softmax(0)[0]))
    assert float(even.z_loss()) == pytest.approx(4 * torch.tensor(4.0).log().item() ** 2)


def test_what_routers_do_is_collected_in_order():
    layers = nn.Sequential(experts(), experts(active=1))
    with collecting() as routings:
        layers(torch.randn(2, 3, D_MODEL))
    assert [tuple(routing.chosen.shape) for routing in routings] == [(6, 2), (6, 1)]
    with collecting() as others:
        pass
    assert others == []


def test_a_bias_evens_out_the_load():
    layer, hidden = experts(balance="bias", bias_rate=0.004), torch.randn(400, D_MODEL)
    hidden[:, 0] += 2  # some experts are chosen too often
    before = layer.route(hidden).load().max()
    for _ in range(200):
        layer.even_out(layer.route(hidden).load())
    assert layer.route(hidden).load().max() < min(0.3, before)


def test_more_active_than_there_are_is_refused():
    with pytest.raises(ConfigError, match="active 4"):
        ExpertsConfig.parse({"count": 4, "active": 5})
