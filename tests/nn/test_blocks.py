"""Norms, feed-forward layers and residual sublayers against their formulas; the trace."""

import pytest
import torch

from peluche.nn.attention import MultiHeadAttention
from peluche.nn.blocks import Block, Residual
from peluche.nn.feedforward import build_feed_forward
from peluche.nn.norms import build_norm
from peluche.nn.trace import is_tracing, record, scope, tracing

HIDDEN = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))


def test_layernorm_and_rmsnorm_by_formula():
    centred = HIDDEN - HIDDEN.mean(-1, keepdim=True)
    expected = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(build_norm("layernorm", 8)(HIDDEN), expected)
    expected = HIDDEN / (HIDDEN.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(build_norm("rmsnorm", 8)(HIDDEN), expected)
    assert build_norm("layernorm", 8, bias=False).bias is None


FORMULAS = {
    "relu": lambda up, gate: up.clamp(min=0),
    "gelu": lambda up, gate: up * 0.5 * (1 + torch.erf(up / 2**0.5)),
    "relu2": lambda up, gate: up.clamp(min=0) ** 2,
    "swiglu": lambda up, gate: up * gate * torch.sigmoid(gate),
    "geglu": lambda up, gate: up * gate * 0.5 * (1 + torch.erf(gate / 2**0.5)),
}


@pytest.mark.parametrize("kind", FORMULAS)
@pytest.mark.parametrize("bias", [True, False])
def test_feed_forward_by_formula(kind, bias):
    layer = build_feed_forward(kind, 8, 12, bias=bias)
    gate = layer.gate(HIDDEN) if hasattr(layer, "gate") else None
    expected = layer.down(FORMULAS[kind](layer.up(HIDDEN), gate))
    torch.testing.assert_close(layer(HIDDEN), expected)
    assert (layer.up.bias is None) != bias
    matrices = 3 if kind.endswith("glu") else 2
    assert sum(p.numel() for p in layer.parameters() if p.dim() == 2) == matrices * 8 * 12


@pytest.mark.parametrize("kind", FORMULAS)
def test_feed_forward_gradient_by_finite_differences(kind):
    layer = build_feed_forward(kind, 4, 5).double()
    hidden = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (hidden,))


def double(hidden):
    return 2 * hidden + 1


@pytest.mark.parametrize("placement", ["pre", "post", "sandwich"])
def test_where_the_norm_stands(placement):
    residual = Residual(lambda: build_norm("layernorm", 8), placement, 0.0)
    for norm in (residual.norm, residual.out_norm):
        if norm is not None:
            torch.nn.init.normal_(norm.weight)
            torch.nn.init.normal_(norm.bias)
    expected = {
        "pre": lambda: HIDDEN + double(residual.norm(HIDDEN)),
        "post": lambda: residual.norm(HIDDEN + double(HIDDEN)),
        "sandwich": lambda: HIDDEN + residual.out_norm(double(residual.norm(HIDDEN))),
    }[placement]()
    torch.testing.assert_close(residual(HIDDEN, double), expected)
    assert (residual.out_norm is not None) == (placement == "sandwich")


def test_a_block_is_its_sublayers_in_order():
    block = Block(
        self_attention=MultiHeadAttention(8, 2),
        cross_attention=MultiHeadAttention(8, 2),
        feed_forward=build_feed_forward("relu", 8, 12),
        make_residual=lambda: Residual(lambda: build_norm("layernorm", 8), "pre", 0.0),
    )
    places = torch.arange(3)
    memory = block.cross_attention.keys_and_values(torch.randn(2, 5, 8))
    x = HIDDEN
    x = x + block.self_attention(block.self_residual.norm(x), positions=places)
    x = x + block.cross_attention.cross(block.cross_residual.norm(x), *memory)
    x = x + block.feed_forward(block.feed_forward_residual.norm(x))
    torch.testing.assert_close(block(HIDDEN, positions=places, memory=memory), x)


def test_trace_names_scopes_and_copies():
    values = torch.ones(2)
    record("before", values)
    assert not is_tracing()
    with tracing() as trace, scope("a"):
        assert is_tracing()
        with scope("b"):
            record("x", values)
        record("y", values.requires_grad_())
        with tracing() as inner:
            record("z", values)
    values.detach().zero_()
    assert list(trace) == ["a.b.x", "a.y"]
    assert list(inner) == ["z"]
    assert trace["a.b.x"].tolist() == [1.0, 1.0]
    assert not trace["a.y"].requires_grad
    assert not is_tracing()


def test_trace_ends_when_the_model_fails():
    with pytest.raises(ValueError, match="broken"), tracing() as trace, scope("a"):
        raise ValueError("broken")
    assert not is_tracing()
    assert trace.path == []
