from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from peluche.nn.dropout import Dropout, keep_mask


@pytest.mark.parametrize("probability", [0.05, 0.1, 0.3, 0.5, 0.9])
def test_rate_mean_and_scale(probability):
    torch.manual_seed(0)
    layer = Dropout(probability)
    dropped = layer(torch.ones(1000, 1001))
    kept = dropped != 0
    assert dropped[kept].unique().tolist() == pytest.approx([1 / (1 - probability)], rel=1e-4)
    deviation = (probability * (1 - probability) / 1_001_000) ** 0.5
    assert 1 - kept.float().mean().item() == pytest.approx(probability, abs=4 * deviation)
    assert dropped.mean().item() == pytest.approx(1, abs=4 * deviation / (1 - probability))


@given(probability=st.floats(0, 0.9999))
@settings(max_examples=50, deadline=None)
def test_scale_is_that_of_the_rate_the_mask_has(probability):
    """Of the 65,536 values that decide about an element, exactly the rate's share drops it."""
    rate = Dropout(probability).probability
    assert rate == pytest.approx(probability, abs=2**-17)
    assert rate * 65536 == round(rate * 65536)


def test_mask_drops_exactly_below_its_threshold(monkeypatch):
    every = np.arange(65536, dtype=np.uint16).view(np.uint64)
    monkeypatch.setattr(
        np.random, "SFC64", lambda seed: SimpleNamespace(random_raw=lambda n: every)
    )
    for probability in (0.0, 0.1, 0.5, 65535 / 65536):
        mask = keep_mask(torch.empty(65536), Dropout(probability).probability)
        assert int((mask == 0).sum()) == round(probability * 65536)


@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (5, 7), (2, 3, 5)])
def test_any_shape(shape):
    mask = keep_mask(torch.empty(shape), 0.5)
    assert mask.shape == shape
    assert mask.dtype == torch.bool


def test_neighbours_are_independent():
    """The four elements of one 64-bit draw do not know of each other."""
    torch.manual_seed(0)
    mask = keep_mask(torch.empty(400_000), 0.5).float().view(-1, 4)
    correlations = torch.corrcoef(mask.T)
    assert (correlations - torch.eye(4)).abs().max() < 0.02


def test_gradient_is_the_mask():
    hidden = torch.randn(50, 60, requires_grad=True)
    upstream = torch.randn(50, 60)
    layer = Dropout(0.3)
    dropped = layer(hidden)
    dropped.backward(upstream)
    factor = (dropped / hidden).detach()
    torch.testing.assert_close(hidden.grad, upstream * factor, atol=1e-5, rtol=1e-5)


def test_residual_form_is_the_two_steps():
    layer = Dropout(0.3)
    results = []
    for fused in (True, False):
        hidden, residual = (torch.randn(50, 61).requires_grad_() for _ in range(2))
        with torch.no_grad():
            hidden.copy_(torch.linspace(-2, 2, hidden.numel()).view_as(hidden))
            residual.copy_(torch.linspace(5, -5, hidden.numel()).view_as(hidden))
        torch.manual_seed(7)
        total = layer.add(hidden, residual) if fused else residual + layer(hidden)
        total.square().sum().backward()
        results.append((total.detach(), hidden.grad, residual.grad))
    for fused, plain in zip(*results, strict=True):
        torch.testing.assert_close(fused, plain, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("layer", [Dropout(0.5).eval(), Dropout(0.0)])
def test_nothing_is_dropped_in_evaluation_or_at_rate_zero(layer):
    hidden, residual = torch.randn(3, 4), torch.randn(3, 4)
    assert layer(hidden) is hidden
    assert torch.equal(layer.add(hidden, residual), residual + hidden)


def test_draws_follow_the_seed():
    layer = Dropout(0.5)
    hidden = torch.ones(100)
    torch.manual_seed(1)
    first, second = layer(hidden), layer(hidden)
    torch.manual_seed(1)
    assert torch.equal(layer(hidden), first)
    assert not torch.equal(first, second)
