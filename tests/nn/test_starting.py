"""What is loaded need not be drawn first."""

import pytest
import torch
from torch import nn

from peluche.models.decoder import DecoderConfig
from peluche.nn.starting import fill, undrawn

SMALL = DecoderConfig(d_model=16, layers=1, heads=2, d_ff=32, dropout=0.0)


def test_a_loaded_model_is_the_same():
    torch.manual_seed(0)
    drawn = SMALL.build(20)
    with undrawn():
        built = SMALL.build(20)
    fill(built, {name: tensor.clone() for name, tensor in drawn.state_dict().items()})
    tokens = torch.arange(8)[None]
    assert torch.equal(built.hidden(tokens), drawn.hidden(tokens))
    assert built.head.weight is built.decoder.embedding.weight


def test_nothing_is_drawn_inside_and_all_is_afterwards():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with undrawn():
        SMALL.build(20)
    assert torch.equal(torch.get_rng_state(), before)
    assert float(SMALL.build(20).head.weight.detach().std()) > 0.01


def test_weights_are_moved_not_copied():
    model = nn.Linear(64, 64)
    weights = {"weight": torch.randn(64, 64), "bias": torch.randn(64)}
    expected = {name: (tensor.clone(), tensor.data_ptr()) for name, tensor in weights.items()}
    fill(model, weights)
    assert not weights
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, expected[name][0])
        assert parameter.data_ptr() == expected[name][1]
        assert parameter.requires_grad


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.to(torch.bfloat16),
        lambda table: table.t().contiguous().t(),
        # Not where torch lets memory begin, as in a file that is mapped.
        lambda table: torch.cat([torch.zeros(1), table.flatten()])[1:].view(table.shape),
    ],
)
def test_what_has_another_type_or_place_in_memory_is_copied(change):
    model, table = nn.Linear(64, 64, bias=False), change(torch.randn(64, 64))
    fill(model, {"weight": table})
    assert model.weight.dtype == torch.float32
    assert model.weight.is_contiguous()
    assert model.weight.data_ptr() % 64 == 0
    assert torch.equal(model.weight, table.float())


def test_one_tensor_under_two_names_becomes_two_parameters():
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    table = torch.randn(8, 8)
    fill(model, {"0.weight": table, "1.weight": table})
    with torch.no_grad():
        model[0].weight.zero_()
    assert bool(model[1].weight.any())


def test_weights_of_another_model_are_refused_whole():
    model = nn.Linear(8, 4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights = {"weight": torch.zeros(3, 8), "scale": torch.zeros(4)}
    with pytest.raises(ValueError, match="'bias' is missing") as raised:
        fill(model, weights)
    assert "'scale' is unexpected" in str(raised.value)
    assert "'weight' has the shape (3, 8), not (4, 8)" in str(raised.value)
    assert sorted(weights) == ["scale", "weight"]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
