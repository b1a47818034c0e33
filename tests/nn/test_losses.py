"""The fused cross-entropy against the plain one, closed forms and float64."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from peluche.nn import losses
from peluche.nn.losses import fused_cross_entropy, plain_cross_entropy


def make(rows, vocabulary=37, d_model=8, scale=1.0, bias=True, dtype=torch.float32):
    generator = torch.Generator().manual_seed(rows)
    hidden, weight, shift = (
        (torch.randn(shape, generator=generator) * scale).to(dtype).requires_grad_()
        for shape in ((rows, d_model), (vocabulary, d_model), (vocabulary,))
    )
    labels = torch.randint(0, vocabulary, (rows,), generator=generator)
    return hidden, weight, labels, shift if bias else None


def run(function, rows, smoothing, upstream=1.0, **how):
    """Loss, nll and the gradients of everything that has one."""
    hidden, weight, labels, bias = make(rows, **how)
    loss, nll = function(hidden, weight, labels, smoothing, bias)
    (loss * upstream).backward()
    leaves = [hidden, weight] + ([] if bias is None else [bias])
    return [loss.detach(), nll, *(leaf.grad for leaf in leaves)]


@given(
    rows=st.integers(0, 40),
    chunk=st.sampled_from([1, 37, 100, 37 * 7, 1 << 20]),
    smoothing=st.sampled_from([0.0, 0.1, 0.9]),
    bias=st.booleans(),
    upstream=st.sampled_from([1.0, -0.25]),
)
@settings(max_examples=60, deadline=None)
def test_fused_equals_plain(rows, chunk, smoothing, bias, upstream):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "CHUNK_ELEMENTS", chunk)
        fused = run(fused_cross_entropy, rows, smoothing, upstream, bias=bias)
    plain = run(plain_cross_entropy, rows, smoothing, upstream, bias=bias)
    for ours, reference in zip(fused, plain, strict=True):
        torch.testing.assert_close(ours, reference, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_float32_is_as_good_as_float32_can_be(smoothing, scale):
    """Against the formula in float64, the fused loss errs no more than twice the plain one."""
    exact = run(plain_cross_entropy, 300, smoothing, scale=scale, dtype=torch.float64)
    fused = run(fused_cross_entropy, 300, smoothing, scale=scale)
    plain = run(plain_cross_entropy, 300, smoothing, scale=scale)
    for ours, theirs, truth in zip(fused, plain, exact, strict=True):
        limit = max(2 * (theirs - truth).abs().max(), 2e-6 * truth.abs().max())
        assert (ours - truth).abs().max() <= limit


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_float64_weights_are_computed_in_float64(smoothing):
    fused = run(fused_cross_entropy, 50, smoothing, dtype=torch.float64)
    plain = run(plain_cross_entropy, 50, smoothing, dtype=torch.float64)
    for ours, reference in zip(fused, plain, strict=True):
        assert ours.dtype == torch.float64
        torch.testing.assert_close(ours, reference, atol=1e-11, rtol=1e-11)


def test_gradients_by_finite_differences():
    hidden, weight, labels, bias = make(5, 7, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda h, w, b: fused_cross_entropy(h, w, labels, 0.1, b).loss, (hidden, weight, bias)
    )


def test_half_precision_hidden_and_weights():
    hidden, weight, labels, _ = make(20)
    exact = plain_cross_entropy(hidden, weight, labels, 0.1).loss.detach()
    low = [t.detach().bfloat16().requires_grad_() for t in (hidden, weight)]
    loss = fused_cross_entropy(*low, labels, 0.1).loss
    loss.backward()
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(float(exact), rel=0.01)
    assert [t.grad.dtype for t in low] == [torch.bfloat16, torch.bfloat16]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_uniform_logits_cost_log_vocabulary(smoothing):
    weight = torch.randn(37, 8)
    labels = torch.arange(20)
    loss, nll = fused_cross_entropy(torch.zeros(20, 8), weight, labels, smoothing)
    assert float(loss) == pytest.approx(20 * math.log(37), rel=1e-6)
    assert float(nll) == pytest.approx(20 * math.log(37), rel=1e-6)


def test_smoothing_of_two_words_in_closed_form():
    """Logits (a, −a): with p = σ(2a), loss = −(1 − ε/2)·log p − (ε/2)·log(1 − p)."""
    a, smoothing = 0.7, 0.2
    hidden, weight = torch.tensor([[a]]), torch.tensor([[1.0], [-1.0]])
    loss, nll = fused_cross_entropy(hidden, weight, torch.tensor([0]), smoothing)
    p = 1 / (1 + math.exp(-2 * a))
    expected = -(1 - smoothing / 2) * math.log(p) - smoothing / 2 * math.log(1 - p)
    assert float(loss) == pytest.approx(expected, rel=1e-6)
    assert float(nll) == pytest.approx(-math.log(p), rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_extreme_logits(smoothing):
    hidden = torch.tensor([[1e4], [1e4], [-1e4]], requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0], [0.0]], requires_grad=True)
    labels = torch.tensor([0, 1, 2])
    loss, nll = fused_cross_entropy(hidden, weight, labels, smoothing)
    loss.backward()
    # −log p of logits (±10⁴, ∓10⁴, 0): 0 for the best, 2·10⁴ and 10⁴ for the others; mean 10⁴.
    assert float(nll) == pytest.approx(3e4)
    assert float(loss.detach()) == pytest.approx((1 - smoothing) * 3e4 + smoothing * 3e4)
    assert torch.isfinite(hidden.grad).all()
    assert torch.isfinite(weight.grad).all()


def test_small_losses_survive_large_logits():
    """A shift of all logits changes nothing; −log p of 1e-4 is not lost beside logits of 1e4."""
    hidden = torch.tensor([[1.0, 1.0]])
    weight = torch.tensor([[1e4, 9.0], [1e4, 0.0]])
    nll = fused_cross_entropy(hidden, weight, torch.tensor([0])).nll
    assert float(nll) == pytest.approx(math.log1p(math.exp(-9)), rel=0.01)


def test_no_rows():
    loss, nll, *gradients = run(fused_cross_entropy, 0, 0.1)
    assert (float(loss), float(nll)) == (0.0, 0.0)
    assert not any(gradient.any() for gradient in gradients)


@given(cuts=st.lists(st.integers(0, 24), max_size=4))
@settings(max_examples=25, deadline=None)
def test_micro_batches_add_up(cuts):
    whole = run(fused_cross_entropy, 24, 0.1)
    hidden, weight, labels, bias = make(24)
    edges = [0, *sorted(cuts), 24]
    total = nll = 0.0
    for start, end in pairwise(edges):
        part = fused_cross_entropy(hidden[start:end], weight, labels[start:end], 0.1, bias)
        part.loss.backward()
        total, nll = total + part.loss.detach(), nll + part.nll
    split = [total, nll, hidden.grad, weight.grad, bias.grad]
    for ours, reference in zip(split, whole, strict=True):
        torch.testing.assert_close(ours, reference, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("frozen", ["hidden", "weight", "bias"])
def test_what_is_frozen_gets_no_gradient_and_the_others_do(frozen):
    hidden, weight, labels, bias = make(10)
    tensors = {"hidden": hidden, "weight": weight, "bias": bias}
    tensors[frozen].requires_grad_(False)
    fused_cross_entropy(hidden, weight, labels, 0.1, bias).loss.backward()
    assert {name for name, tensor in tensors.items() if tensor.grad is None} == {frozen}


def test_nll_is_for_reading_only():
    hidden, weight, labels, _ = make(4, bias=False)
    loss, nll = fused_cross_entropy(hidden, weight, labels)
    assert loss.requires_grad
    assert not nll.requires_grad


def test_evaluation_makes_no_gradients(monkeypatch):
    hidden, weight, labels, bias = make(10)
    expected = fused_cross_entropy(hidden, weight, labels, 0.1, bias)
    monkeypatch.setattr(torch.Tensor, "addmm_", None)  # what the weight's gradient is made with
    with torch.no_grad():
        found = fused_cross_entropy(hidden, weight, labels, 0.1, bias)
    assert torch.equal(found.loss, expected.loss)


def test_no_logits_are_kept():
    hidden, weight, labels, _ = make(64, vocabulary=5000, bias=False)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.numel()) or t, lambda t: t
    ):
        fused_cross_entropy(hidden, weight, labels, 0.1)
    assert max(kept) == weight.numel()
    assert max(kept) < 64 * 5000
