"""Recurrent layers: explicit cells equal the fused kernel, padding is not read, gates are seen."""

import pytest
import torch

from peluche.nn.recurrent import Carried, Recurrent
from peluche.nn.trace import tracing

KINDS = ["rnn", "gru", "lstm"]
LENGTHS = torch.tensor([5, 2, 1])
VALID = torch.arange(5) < LENGTHS[:, None]


def make(kind, **options):
    torch.manual_seed(0)
    layer = Recurrent(kind, 4, 3, **options)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer, torch.randn(3, 5, 4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"layers": 2}, {"layers": 2, "bidirectional": True}])
@pytest.mark.parametrize("padded", [False, True])
def test_explicit_cells_equal_the_fused_kernel(kind, options, padded):
    layer, inputs = make(kind, **options)
    valid = VALID if padded else None
    first = Carried(
        torch.randn(layer.layers * layer.directions, 3, 3),
        torch.randn(layer.layers * layer.directions, 3, 3) if kind == "lstm" else None,
    )
    for carried in (None, first):
        outputs, last = layer(inputs, valid, carried)
        with tracing() as trace:
            explicit, explicit_last = layer(inputs, valid, carried)
        torch.testing.assert_close(explicit, outputs, atol=1e-6, rtol=0)
        torch.testing.assert_close(explicit_last.hidden, last.hidden, atol=1e-6, rtol=0)
        if kind == "lstm":
            torch.testing.assert_close(explicit_last.cell, last.cell, atol=1e-6, rtol=0)
        assert trace["0.forward.hidden"].shape == (3, 5, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_explicit_cells_equal_the_fused_kernel(kind):
    found = []
    for explicit in (False, True):
        layer, inputs = make(kind, layers=2, bidirectional=True)
        if explicit:
            with tracing():
                outputs, _ = layer(inputs, VALID)
        else:
            outputs, _ = layer(inputs, VALID)
        outputs.square().sum().backward()
        found.append([parameter.grad for parameter in layer.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_not_read(kind):
    layer, inputs = make(kind, layers=2, bidirectional=True)
    outputs, last = layer(inputs, VALID)
    assert (outputs[~VALID] == 0).all()
    for row, length in enumerate(LENGTHS.tolist()):
        alone, alone_last = layer(inputs[row : row + 1, :length])
        torch.testing.assert_close(outputs[row : row + 1, :length], alone, atol=1e-6, rtol=0)
        torch.testing.assert_close(
            last.hidden[:, row : row + 1], alone_last.hidden, atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("kind", KINDS)
def test_one_token_at_a_time_equals_the_whole(kind):
    layer, inputs = make(kind, layers=2)
    whole, _ = layer(inputs)
    carried, steps = None, []
    for place in range(5):
        output, carried = layer(inputs[:, place : place + 1], None, carried)
        steps.append(output)
    torch.testing.assert_close(torch.cat(steps, 1), whole, atol=1e-6, rtol=0)


def test_gates_are_seen_and_an_open_forget_gate_keeps_the_memory():
    layer, inputs = make("lstm")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        bias = dict(layer.fused.named_parameters())["bias_ih_l0"]
        bias[3:6] = 50.0  # forget gate open
        bias[0:3] = -50.0  # input gate shut
    memory = torch.randn(1, 3, 3)
    with tracing() as trace:
        _, last = layer(inputs, None, Carried(torch.zeros(1, 3, 3), memory))
    assert torch.equal(last.cell, memory)
    assert (trace["0.forward.forget"] == 1).all()
    assert trace["0.forward.input"].max() < 1e-20
    assert {"output", "candidate", "cell"} <= {name.rsplit(".", 1)[-1] for name in trace}


def test_a_fresh_lstm_remembers():
    layer = Recurrent("lstm", 4, 8)
    assert (dict(layer.fused.named_parameters())["bias_ih_l0"][8:16] == 1).all()
    recurrent = dict(layer.fused.named_parameters())["weight_hh_l0"][:8]
    torch.testing.assert_close(recurrent @ recurrent.t(), torch.eye(8), atol=1e-5, rtol=0)
