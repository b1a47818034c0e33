"""Processors against those of transformers, and against what their formulas say."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.generation import logits_process as peer

from peluche.generation.best import best_tokens
from peluche.generation.processors import (
    apply_temperature,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    keep_typical,
)
from peluche.generation.sampling import (
    SamplingParameters,
    SamplingState,
    bias_and_penalise,
    draw_tokens,
    process,
)

PAIRS = [
    (apply_temperature, peer.TemperatureLogitsWarper, [0.3, 1.7]),
    (keep_top_k, peer.TopKLogitsWarper, [1, 7, 300]),
    (keep_top_p, peer.TopPLogitsWarper, [0.05, 0.5, 0.95]),
    (keep_min_p, peer.MinPLogitsWarper, [0.01, 0.3]),
    (keep_typical, peer.TypicalLogitsWarper, [0.1, 0.5, 0.95]),
]


def random_logits(rows: int, columns: int, seed: int, scale: float = 2.0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * scale


@pytest.mark.parametrize(
    ("ours", "theirs", "values"), PAIRS, ids=lambda it: getattr(it, "__name__", str(it))
)
@pytest.mark.parametrize("scale", [0.1, 2.0, 8.0])
def test_each_equals_the_one_of_transformers(ours, theirs, values, scale):
    logits = random_logits(len(values), 200, seed=3, scale=scale)
    logits[:, 11] = -torch.inf
    found = ours(logits.clone(), torch.tensor([[float(value)] for value in values]))
    for row, value in enumerate(values):
        expected = theirs(value)(None, logits[row : row + 1])
        torch.testing.assert_close(found[row : row + 1], expected)


def test_all_together_equal_generate_of_transformers():
    """The order too: its raw logits, through ours, are its scores, step by step."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 120}
    model = LlamaForCausalLM(LlamaConfig(**sizes, **heads)).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(40)
    prompt = [5, 9, 5, 30]
    options = {"temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.01, "typical_p": 0.95}
    record = SamplingParameters(**options, repetition_penalty=1.7, logit_bias={9: 2.5, 44: -3.0})
    torch.manual_seed(1)
    out = model.generate(
        torch.tensor([prompt]),
        do_sample=True,
        max_new_tokens=25,
        **options,
        repetition_penalty=1.7,
        sequence_bias={(9,): 2.5, (44,): -3.0},
        output_scores=True,
        output_logits=True,
        return_dict_in_generate=True,
        pad_token_id=0,
    )
    state = SamplingState(record, prompt=prompt)
    written = out.sequences[0, len(prompt) :].tolist()
    for logits, scores, token in zip(out.logits, out.scores, written, strict=True):
        found = process(bias_and_penalise(logits, [state]), [record])
        torch.testing.assert_close(found, scores)
        state.advance(token)
    assert len(written) > 10


def test_penalties_are_what_openai_says():
    """logit − frequency·count − presence·[count > 0], counting what was said, not what was read."""
    record = SamplingParameters(presence_penalty=0.7, frequency_penalty=-0.25)
    state = SamplingState(record, prompt=[1, 1, 2])
    for token in [4, 4, 4, 7]:
        state.advance(token)
    found = bias_and_penalise(torch.zeros(1, 9), [state])[0].tolist()
    assert found == pytest.approx([0, 0, 0, 0, 3 * 0.25 - 0.7, 0, 0, 0.25 - 0.7, 0])


def test_the_repetition_penalty_is_that_of_ctrl():
    state = SamplingState(SamplingParameters(repetition_penalty=2.0), prompt=[0, 1, 1])
    state.advance(2)
    found = bias_and_penalise(torch.tensor([[3.0, -3.0, 1.0, 3.0]]), [state])
    assert found[0].tolist() == [1.5, -6.0, 0.5, 3.0]


def test_many_tokens_are_counted_each_in_its_row():
    record = SamplingParameters(frequency_penalty=1.0)
    states = [SamplingState(record), SamplingState(SamplingParameters()), SamplingState(record)]
    said = torch.randint(0, 50, (3, 200), generator=torch.Generator().manual_seed(0))
    for state, tokens in zip(states, said.tolist(), strict=True):
        for token in tokens:
            state.advance(token)
    logits = random_logits(3, 50, seed=1)
    before = logits.clone()
    counts = torch.stack([torch.bincount(row, minlength=50) for row in said])
    counts[1] = 0
    torch.testing.assert_close(bias_and_penalise(logits, states), before - counts)
    assert torch.equal(logits, before)


def test_what_is_typical_in_a_large_vocabulary_is_what_sorting_all_of_it_keeps():
    """By the definition, added up in double precision."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(24, 5000, generator=generator) * torch.logspace(-2, 1, 24)[:, None]
    logits[3, 100:] = logits[4] = -1.0  # many alike, and all
    logits[5, 2:] = -torch.inf
    mass = torch.linspace(0.02, 0.999, 24)[:, None]
    surprisal = -logits.log_softmax(-1)
    probabilities = (-surprisal).exp()
    entropy = (probabilities * surprisal).nansum(-1, keepdim=True)
    strangeness = (surprisal - entropy).abs()
    order = strangeness.argsort(-1)
    ordered = probabilities.double().gather(-1, order)
    last = ((ordered.cumsum(-1) - ordered < mass).sum(-1, keepdim=True) - 1).clamp(min=0)
    kept = strangeness <= strangeness.gather(-1, order).gather(-1, last)
    assert torch.equal(keep_typical(logits, mass), logits.masked_fill(~kept, -torch.inf))


@given(
    st.integers(0, 10**6),
    st.sampled_from([100, 5000]),
    st.sampled_from([0.01, 0.5, 3.0, 20.0]),
    st.sampled_from([0.0, -40.0, 1e4]),
    st.sampled_from(["", "tied", "alike", "few"]),
)
@settings(max_examples=60, deadline=None)
def test_top_p_keeps_what_sorting_all_keeps(seed, columns, scale, offset, kind):
    """By the definition, added up in double precision; those that equal the last one stay."""
    logits = random_logits(6, columns, seed, scale) + offset
    if kind == "tied":
        logits = logits.round()
    elif kind == "alike":
        logits[:] = offset
    elif kind == "few":
        logits[:, seed % 40 + 1 :] = -torch.inf
    mass = torch.tensor([[1e-6], [0.3], [0.9], [0.99], [0.999999], [1.0]])
    probabilities = logits.softmax(-1).double()
    ordered, order = logits.sort(-1, descending=True)
    held = probabilities.gather(-1, order).cumsum(-1)
    last = (held < mass).sum(-1, keepdim=True).clamp(max=columns - 1)
    kept = logits >= ordered.gather(-1, last)
    expected = logits.masked_fill(~kept, -torch.inf)
    found = keep_top_p(logits, mass)
    # A sum that is p but for rounding depends on the order in which it is made.
    near = ((held - mass).abs() < 1e-12).any(-1)
    assert torch.equal(found[~near], expected[~near])
    assert near.sum() <= 2


def test_typical_sampling_may_leave_out_the_likeliest_token():
    """Meister et al. 2022: a token far likelier than usual is not typical."""
    probabilities = torch.tensor([[0.4, *[0.6 / 60] * 60]])
    kept = keep_typical(probabilities.log(), torch.tensor([[0.5]])) > -torch.inf
    entropy = -0.4 * math.log(0.4) - 0.6 * math.log(0.01)
    assert abs(-math.log(0.4) - entropy) > abs(-math.log(0.01) - entropy)
    assert not kept[0, 0]
    assert kept[0, 1:].all(), "all equally typical"


@given(st.integers(0, 10**6), st.integers(1, 400), st.integers(1, 70))
@settings(max_examples=60, deadline=None)
def test_best_tokens_are_the_best(seed, columns, count):
    logits = random_logits(3, columns, seed).round(decimals=1)
    values, ids = best_tokens(logits, count)
    expected = logits.topk(min(count, columns)).values
    assert torch.equal(values, expected)
    assert torch.equal(logits.gather(1, ids), expected)
    assert all(len(set(row)) == len(row) for row in ids.tolist())


def test_best_tokens_of_a_large_vocabulary():
    logits = random_logits(4, 5000, 0)
    assert torch.equal(best_tokens(logits, 30)[1], logits.topk(30).indices)


@given(
    st.integers(0, 10**6), st.sampled_from([0.3, 2.0, 6.0]), st.sampled_from(["", "tied", "few"])
)
@settings(max_examples=40, deadline=None)
def test_looking_at_the_best_first_draws_the_same(seed, scale, kind):
    """Peaked or flat, with many equal tokens, or with few that are allowed."""
    logits = random_logits(8, 5000, seed, scale)
    if kind == "tied":
        logits = logits.round()
    elif kind == "few":
        logits[:, seed % 40 + 1 :] = -torch.inf
    records = [
        SamplingParameters(top_k=1),
        SamplingParameters(top_k=5, top_p=0.8, temperature=2.0),
        SamplingParameters(top_k=127, min_p=0.01, typical_p=0.9),
        SamplingParameters(top_k=400, top_p=0.5),
        SamplingParameters(top_p=0.9, temperature=0.6),
        SamplingParameters(top_p=0.5, min_p=0.001, temperature=1.4),
        SamplingParameters(min_p=0.1, temperature=0.8),
        SamplingParameters(top_p=0.2, typical_p=0.7),
    ]
    uniform = torch.rand(8, generator=torch.Generator().manual_seed(seed))
    found = draw_tokens(logits, records, uniform)
    for row, record in enumerate(records):
        weights = process(logits[row : row + 1], [record]).softmax(-1).double()[0]
        below = weights[: found[row]].sum()
        assert weights[found[row]] > 0
        assert below - 1e-5 <= uniform[row] <= below + weights[found[row]] + 1e-5
        alone = draw_tokens(logits[row : row + 1], [record], uniform[row : row + 1])
        assert int(alone) == int(found[row])
