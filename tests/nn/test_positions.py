"""Each kind of position against its formula, its property, or published values."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.t5.modeling_t5 import T5Attention

from peluche.errors import DataError
from peluche.nn.positions import ALiBi, Learned, RelativeBias, Sinusoidal, alibi_slopes
from peluche.nn.rotary import Rotary


@pytest.mark.parametrize("d_model", [2, 6, 64])
def test_sinusoidal_is_its_formula(d_model):
    table = Sinusoidal(d_model)(torch.arange(200))
    for place in (0, 1, 63, 64, 199):
        for pair in range(d_model // 2):
            angle = place / 10000 ** (2 * pair / d_model)
            assert table[place, pair] == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[place, d_model // 2 + pair] == pytest.approx(math.cos(angle), abs=1e-6)


def test_sinusoidal_takes_any_shape_and_order_and_grows():
    positions = Sinusoidal(8)
    few = positions(torch.tensor([3, 0]))
    many = positions(torch.tensor([[900, 3], [5, 0]]))
    assert many.shape == (2, 2, 8)
    assert torch.equal(torch.stack([many[0, 1], many[1, 1]]), few)
    assert positions(torch.zeros(0, dtype=torch.long)).shape == (0, 8)


def test_moving_to_half_precision_rounds_the_values_and_not_the_frequencies():
    half = Sinusoidal(16).bfloat16()
    found = half(torch.arange(500))
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, Sinusoidal(16)(torch.arange(500)).bfloat16())
    heads = torch.randn(1, 1, 500, 16).bfloat16()
    turned = Rotary().bfloat16()(heads, torch.arange(500))
    exact = Rotary()(heads.float(), torch.arange(500))
    torch.testing.assert_close(turned.float(), exact, atol=0.05, rtol=0.02)


@given(shift=st.integers(0, 3000), first=st.integers(0, 50), second=st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_rotary_products_depend_on_distance_alone(shift, first, second):
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 1, 3, 1, 8, generator=generator).double()
    rotary = Rotary()

    def product(query_place, key_place):
        turned = rotary(query, torch.tensor([query_place]))
        return (turned * rotary(key, torch.tensor([key_place]))).sum(-1)

    torch.testing.assert_close(product(first, second), product(first + shift, second + shift))


def test_rotary_keeps_norms_and_leaves_the_first_place():
    heads = torch.randn(2, 3, 40, 16)
    turned = Rotary()(heads, torch.arange(40))
    torch.testing.assert_close(turned.norm(dim=-1), heads.norm(dim=-1))
    assert torch.equal(turned[:, :, 0], heads[:, :, 0])
    assert not torch.allclose(turned[:, :, 1], heads[:, :, 1])


def test_rotary_turns_the_pair_by_the_angle():
    """Features i and i + width/2 turn by position · 10000^(−2i/width)."""
    width, place = 6, 7
    heads = torch.randn(1, 1, 1, width, dtype=torch.float64)
    turned = Rotary()(heads, torch.tensor([place]))[0, 0, 0]
    for pair in range(width // 2):
        before = complex(heads[0, 0, 0, pair], heads[0, 0, 0, pair + width // 2])
        angle = place * 10000 ** (-2 * pair / width)
        after = before * complex(math.cos(angle), math.sin(angle))
        assert complex(turned[pair], turned[pair + width // 2]) == pytest.approx(after)


def test_rotary_takes_positions_per_row():
    heads = torch.randn(2, 3, 4, 8)
    places = torch.tensor([[0, 1, 2, 3], [5, 6, 0, 1]])
    turned = Rotary()(heads, places)
    for row in range(2):
        expected = Rotary()(heads[row : row + 1], places[row])
        torch.testing.assert_close(turned[row : row + 1], expected)


def test_alibi_slopes_are_the_published_ones():
    assert alibi_slopes(8) == [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]
    between = [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]
    assert alibi_slopes(12) == pytest.approx([2.0**-n for n in range(1, 9)] + between)
    assert alibi_slopes(1) == [2**-8]
    assert all(len(alibi_slopes(heads)) == heads for heads in range(1, 40))


def test_alibi_falls_with_distance_on_both_sides():
    bias = ALiBi(2)(torch.tensor([0, 3]), torch.arange(5))
    assert bias.shape == (1, 2, 2, 5)
    assert bias[0, 0, 1].tolist() == [-3 / 16, -2 / 16, -1 / 16, 0, -1 / 16]
    assert bias[0, 1, 0].tolist() == [0.0, *[-n / 256 for n in range(1, 5)]]


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "max_distance"), [(32, 128), (16, 40), (8, 1000)])
def test_relative_buckets_are_those_of_t5(bidirectional, buckets, max_distance):
    relative = torch.arange(-1500, 1501)
    ours = RelativeBias(
        2, bidirectional=bidirectional, buckets=buckets, max_distance=max_distance
    ).bucket(relative)
    theirs = T5Attention._relative_position_bucket(relative, bidirectional, buckets, max_distance)
    assert torch.equal(ours, theirs)


def test_relative_bias_looks_up_key_minus_query():
    layer = RelativeBias(3, bidirectional=True)
    torch.nn.init.normal_(layer.weight)
    bias = layer(torch.tensor([4, 9]), torch.arange(12))
    assert bias.shape == (1, 3, 2, 12)
    for row, query in enumerate((4, 9)):
        for key in range(12):
            bucket = layer.bucket(torch.tensor(key - query))
            assert torch.equal(bias[0, :, row, key], layer.weight[bucket])


def test_learned_positions_end():
    layer = Learned(4, 6)
    assert torch.equal(layer(torch.tensor([5, 0])), layer.weight[[5, 0]])
    with pytest.raises(DataError) as caught:
        layer(torch.arange(7))
    assert "7 tokens" in caught.value.what
    assert "model.max_length is 6" in str(caught.value.where)
    assert "train with a larger model.max_length" in str(caught.value.remedy)
