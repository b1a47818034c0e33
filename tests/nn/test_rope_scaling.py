"""Each scaling of rotary positions against its formula, and against `transformers`."""

import math

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from peluche.nn.rotary import RopeConfig, angles

BASE, WIDTH, LENGTH = 10_000.0, 32, 64


def ours(base=BASE, width=WIDTH, **scaling):
    """Frequencies of the pairs, and what queries and keys are multiplied by."""
    config = RopeConfig.parse({"base": base, "scaling": scaling or None})
    one = torch.ones(1, dtype=torch.long)
    return angles(one, width, config)[0], 1.0 if not scaling else config.scaling.magnitude()


def theirs(kind, width=WIDTH, base=BASE, length=None, **settings):
    config = LlamaConfig(
        hidden_size=2 * width,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        rope_parameters={"rope_type": kind, "rope_theta": base, **settings},
    )
    frequencies, magnitude = ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=length)
    return frequencies.double(), magnitude


def assert_alike(found, expected):
    torch.testing.assert_close(found[0], expected[0], atol=0, rtol=2e-6)
    assert found[1] == pytest.approx(expected[1])


@pytest.mark.parametrize("factor", [2.0, 7.5])
@pytest.mark.parametrize("width", [4, 32, 128])
def test_ntk_is_a_larger_base(width, factor):
    """θ_i = b'^(−2i/d) with b' = b · s^(d/(d−2)) (Peng et al. 2024, §3.1)."""
    larger = BASE * factor ** (width / (width - 2))
    expected = [larger ** (-2 * pair / width) for pair in range(width // 2)]
    found, magnitude = ours(width=width, kind="ntk", factor=factor)
    assert found.tolist() == pytest.approx(expected, rel=1e-12)
    assert magnitude == 1.0
    plain, _ = ours(width=width)
    assert found[0] == plain[0] == 1
    assert float(plain[-1] / found[-1]) == pytest.approx(factor)


@pytest.mark.parametrize(("factor", "length"), [(2.0, 128), (4.0, 65), (1.5, 1000)])
def test_ntk_is_what_transformers_calls_dynamic_at_a_length(factor, length):
    """Theirs grows with the text: at a length it is that of one factor."""
    expected = theirs("dynamic", factor=factor, length=length)
    grown = factor * length / LENGTH - (factor - 1)
    assert_alike(ours(kind="ntk", factor=grown), expected)


def test_ntk_of_a_single_pair_leaves_it():
    assert ours(width=2, kind="ntk", factor=8.0)[0].tolist() == [1.0]


@pytest.mark.parametrize("factor", [2.0, 3.7])
def test_linear_divides_positions(factor):
    found, magnitude = ours(kind="linear", factor=factor)
    expected = [BASE ** (-2 * pair / WIDTH) / factor for pair in range(WIDTH // 2)]
    assert found.tolist() == pytest.approx(expected, rel=1e-12)
    assert magnitude == 1.0
    assert_alike((found, magnitude), theirs("linear", factor=factor))


@pytest.mark.parametrize("base", [1e4, 5e5])
@pytest.mark.parametrize(
    "settings",
    [
        {"factor": 4.0},
        {"factor": 16.0, "beta_fast": 8.0, "beta_slow": 2.0},
        {"factor": 2.0, "attention_factor": 1.3},
        {"factor": 3.0, "beta_fast": 1.0, "beta_slow": 1.0},
    ],
)
@pytest.mark.parametrize("original", [32, 4096])
def test_yarn_is_that_of_transformers(base, settings, original):
    expected = theirs("yarn", base=base, original_max_position_embeddings=original, **settings)
    names = {"beta_fast": "fast", "beta_slow": "slow", "attention_factor": "attention"}
    own = {names.get(name, name): value for name, value in settings.items()}
    found = ours(base, kind="yarn", original_length=original, **own)
    assert_alike(found, expected)


def test_yarn_is_its_formula():
    """h(θ) = (1 − γ)·θ/s + γ·θ with a ramp γ over the pairs, and √(1/t) = 0.1·ln s + 1."""
    factor, original, fast, slow = 8.0, 2048, 32.0, 1.0
    found, magnitude = ours(kind="yarn", factor=factor, original_length=original)

    def pair_that_turns(times):
        return WIDTH * math.log(original / (times * 2 * math.pi)) / (2 * math.log(BASE))

    low, high = math.floor(pair_that_turns(fast)), math.ceil(pair_that_turns(slow))
    for pair in range(WIDTH // 2):
        plain = BASE ** (-2 * pair / WIDTH)
        kept = 1 - min(max((pair - low) / (high - low), 0), 1)
        expected = (1 - kept) * plain / factor + kept * plain
        assert float(found[pair]) == pytest.approx(expected, rel=1e-12)
    assert magnitude == pytest.approx(0.1 * math.log(factor) + 1)


@pytest.mark.parametrize(("low", "high", "original"), [(1.0, 4.0, 32), (2.0, 16.0, 8192)])
def test_llama3_is_that_of_transformers(low, high, original):
    expected = theirs(
        "llama3", base=5e5, factor=8.0, low_freq_factor=low, high_freq_factor=high,
        original_max_position_embeddings=original,
    )  # fmt: skip
    found = ours(5e5, kind="llama3", factor=8.0, low=low, high=high, original_length=original)
    assert_alike(found, expected)


def test_queries_and_keys_are_multiplied():
    """So that products of scaled heads are √(1/t)² times as large."""
    heads = torch.randn(1, 2, 5, WIDTH)
    places = torch.arange(5)
    scaling = {"kind": "yarn", "factor": 4.0, "original_length": 32}
    plain = RopeConfig.parse({"scaling": {**scaling, "attention": 1.0}}).build()
    scaled = RopeConfig.parse({"scaling": {**scaling, "attention": 1.7}}).build()
    torch.testing.assert_close(scaled(heads, places), 1.7 * plain(heads, places))
