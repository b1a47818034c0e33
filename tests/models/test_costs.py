"""Floating-point operations counted from a model, against what torch counts of a forward pass."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from peluche.models.costs import mean_keys, token_flops
from peluche.models.decoder import DecoderConfig
from peluche.models.recurrent_lm import RecurrentLMConfig
from peluche.models.transformer import WindowConfig
from peluche.nn.experts import ExpertsConfig
from peluche.nn.latent_attention import LatentConfig

SIZES = {"d_model": 32, "layers": 2, "heads": 4, "d_ff": 48, "dropout": 0.0}


def counted_by_torch(model, length):
    """Of a forward pass in training, per token; a causal score matrix counts in full there."""
    tokens = torch.randint(20, (2, length), generator=torch.Generator().manual_seed(0))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.logits(model.hidden(tokens))
    return counter.get_total_flops() / tokens.numel()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"activation": "swiglu", "bias": False, "norm": "rmsnorm"},
        {"tie_embeddings": False},
        {"kv_heads": 1},
        {"head_width": 16},
        {"qk_norm": True},
        {"bias": False, "latent": LatentConfig(kv_rank=8, rope_width=4)},
    ],
)
def test_as_torch_counts_with_half_of_the_scores(changes):
    # Torch counts no fused attention on a CPU, and a soft cap has none.
    model, length = DecoderConfig(**{**SIZES, **changes}, attention_softcap=50.0).build(20), 16
    full = token_flops(model, length, causal=False)
    assert full == 3 * counted_by_torch(model, length)
    for_each_key = (full - token_flops(model, length // 2, causal=False)) / (length // 2)
    assert full - token_flops(model, length) == pytest.approx(for_each_key * (length - 1) / 2)


def test_only_active_experts_count():
    dense = DecoderConfig(**SIZES, bias=False).build(20)
    mixed = DecoderConfig(**SIZES, bias=False, experts=ExpertsConfig(count=8, active=2)).build(20)
    router = 32 * 8
    one = 2 * 32 * 48
    assert token_flops(mixed, 8) - token_flops(dense, 8) == 6 * 2 * (one + router)


def test_a_window_sees_less():
    windowed = DecoderConfig(**SIZES, window=WindowConfig(size=3)).build(20)
    dense = DecoderConfig(**SIZES).build(20)
    fewer = 3.5 - (1 + 2 + 3 * 4) / 6
    assert token_flops(dense, 6) - token_flops(windowed, 6) == pytest.approx(6 * 2 * 64 * fewer)


@pytest.mark.parametrize("window", [None, 1, 3, 9])
@pytest.mark.parametrize("length", [1, 4, 9])
def test_keys_that_a_query_sees(length, window):
    places = range(length)
    near = window or length
    causal = sum(query - near < key <= query for query in places for key in places) / length
    both = sum(abs(query - key) < near for query in places for key in places) / length
    assert mean_keys(length, window, causal=True) == pytest.approx(causal)
    assert mean_keys(length, window, causal=False) == pytest.approx(both)


def test_a_recurrent_net_multiplies_every_matrix_once():
    model = RecurrentLMConfig(cell="lstm", embedding=8, hidden=16, layers=1, dropout=0.0).build(20)
    weights = 4 * 16 * (8 + 16)
    head = model.head.weight.numel()
    assert token_flops(model, 64) >= 6 * (weights + head)
    assert token_flops(model, 64) == token_flops(model, 8)
