"""What models cost, beside closed forms."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from peluche.errors import ConfigError
from peluche.models.decoder import DecoderConfig
from peluche.models.state_space_lm import StateSpaceLMConfig
from peluche.studies.costs import WritingTest, forward_flops, memory, writing_speed

VOCABULARY, LENGTH, WIDTH, LAYERS, HEADS, INNER = 50, 16, 32, 2, 4, 64
SIZES = {"d_model": WIDTH, "layers": LAYERS, "heads": HEADS, "d_ff": INNER, "activation": "gelu"}


def decoder(**changes):
    return DecoderConfig(**{**SIZES, **changes}).build(VOCABULARY)


def counted(model):
    """Operations per token of one that is read, as torch sees the products; scores count whole."""
    grouped = torch.ops.aten._grouped_mm

    def of_experts(rows, matrices, *_, **__):
        return 2 * rows[0] * rows[1] * matrices[-1]

    counter = FlopCounterMode(display=False, custom_mapping={grouped: of_experts})
    tokens = torch.zeros(1, LENGTH, dtype=torch.int64)
    model.eval()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        model.logits(model.hidden(tokens))
    return counter.get_total_flops() / LENGTH


@pytest.mark.parametrize(
    "model",
    [
        decoder(),
        decoder(kv_heads=2),
        decoder(kv_heads=1, activation="swiglu"),
        decoder(experts={"count": 8, "active": 2, "d_ff": INNER // 2}),
    ],
    ids=["heads", "grouped", "multi-query", "experts"],
)
def test_operations_are_those_that_torch_counts(model):
    # torch's plain path computes all scores, of which a causal mask needs (length + 1) / 2 of each.
    masked = 2 * LAYERS * 2 * WIDTH * (LENGTH - (LENGTH + 1) / 2)
    assert forward_flops(model, LENGTH) == counted(model) - masked


def test_of_experts_those_count_that_are_used():
    experts = decoder(experts={"count": 8, "active": 2, "d_ff": INNER // 2})
    router = 2 * LAYERS * WIDTH * 8
    assert forward_flops(experts, LENGTH) == forward_flops(decoder(), LENGTH) + router


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_keys_and_values_of_a_token(kv_heads):
    found = memory(decoder(kv_heads=kv_heads))
    assert found == (2 * LAYERS * kv_heads * (WIDTH // HEADS) * 4, 0)


def test_latent_attention_remembers_one_vector():
    latent = {"kv_rank": 12, "rope_width": 4}
    assert memory(decoder(latent=latent, bias=False)) == (LAYERS * (12 + 4) * 4, 0)


def test_what_recurrent_models_remember_does_not_grow():
    mixer = {"heads": 2, "width": 16, "state": 8, "kernel": 4}
    model = StateSpaceLMConfig(d_model=WIDTH, layers=LAYERS, mixer=mixer).build(VOCABULARY)
    tail = 3 * (2 * 16 + 2 * 8)
    assert memory(model) == (0, LAYERS * (tail + 2 * 16 * 8) * 4)


def test_speeds_are_relative_to_the_first_model():
    test = WritingTest(rows=1, context=3, tokens=2, rounds=2)
    found = writing_speed({"a": decoder(), "b": decoder(kv_heads=1)}, test)
    assert list(found) == ["a", "b"]
    assert found["a"].ratio == 1.0


def test_texts_that_are_too_long_are_refused():
    model = decoder(positions="learned", max_length=8)
    with pytest.raises(ConfigError, match="reads 8 tokens at most"):
        writing_speed({"a": model}, WritingTest(rows=1, context=8, tokens=1, rounds=1))
