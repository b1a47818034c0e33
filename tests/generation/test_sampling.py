"""Sampling: each processor against its definition, and draws that follow the distribution."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_decoders import EOS, TableDecoder

from peluche.errors import ConfigError
from peluche.generation.config import DecodingConfig
from peluche.generation.sampling import (
    SamplingParameters,
    SamplingState,
    choose_tokens,
    draw,
    process,
)
from peluche.generation.search import Request, greedy_search, sample
from peluche.text.tokenizer import OWN

records = st.builds(
    SamplingParameters,
    temperature=st.sampled_from([0.3, 1.0, 2.5]),
    top_k=st.sampled_from([None, 1, 3, 1000]),
    top_p=st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    min_p=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
)


def numbers(seed: int, stream: int, count: int) -> list[float]:
    state = SamplingState(SamplingParameters(seed=seed), stream)
    found = []
    for _ in range(count):
        found.append(state.uniform())
        assert state.uniform() == found[-1]
        state.advance(0)
    return found


def allowed_by_definition(logits: torch.Tensor, record: SamplingParameters) -> torch.Tensor:
    """Which tokens one row may draw, written down as the papers define it."""
    logits = logits / record.temperature
    order = logits.argsort(descending=True).tolist()[: record.top_k]
    probabilities = logits[order].softmax(0).tolist()
    nucleus, total = [], 0.0
    for token, probability in zip(order, probabilities, strict=True):
        if record.top_p < 1 and total >= record.top_p:
            break
        nucleus.append(token)
        total += probability
    floor = record.min_p * probabilities[0]
    kept = [t for t, p in zip(nucleus, probabilities, strict=False) if p >= floor]
    mask = torch.zeros(len(logits), dtype=torch.bool)
    mask[kept] = True
    return mask


@given(st.lists(records, min_size=1, max_size=6), st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_rows_with_different_settings_share_a_batch(rows, seed):
    logits = torch.randn(len(rows), 30, generator=torch.Generator().manual_seed(seed)) * 2
    processed = process(logits, rows)
    for row, record in enumerate(rows):
        allowed = allowed_by_definition(logits[row], record)
        assert torch.equal(processed[row] > -torch.inf, allowed)
        expected = logits[row][allowed] / record.temperature
        torch.testing.assert_close(processed[row][allowed], expected)


def test_draws_follow_the_distribution():
    logits = torch.tensor([1.0, -torch.inf, 0.0, 2.0])
    count = 40_000
    drawn = draw(logits.expand(count, -1), torch.tensor(numbers(0, 0, count)))
    frequencies = torch.bincount(drawn, minlength=4) / count
    assert (frequencies - logits.softmax(0)).abs().max() < 0.01
    assert frequencies[1] == 0


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-24])
def test_the_ends_of_the_interval_draw_possible_tokens(uniform):
    logits = torch.full((1, 9), -torch.inf)
    logits[0, [3, 5]] = torch.tensor([0.3, 0.7])
    assert int(draw(logits, torch.tensor([uniform]))) == (3 if uniform == 0 else 5)


def test_a_request_draws_the_same_alone_and_in_a_batch():
    table, config = TableDecoder(2, words=6), DecodingConfig(kind="sample", n_best=3)
    requests = [
        Request(
            [source, EOS],
            limit=4 + source,
            prefix=(5, 6)[:source],
            sampling=SamplingParameters(temperature=0.5 + source, seed=9),
            stream=source,
        )
        for source in range(5)
    ]
    together = sample(table, requests, config)
    assert together == [sample(table, [request], config)[0] for request in requests]
    assert len({tuple(h.tokens) for h in together[-1]}) > 1


def test_the_score_is_the_models_own_log_probability():
    table, config = TableDecoder(4), DecodingConfig(kind="sample", n_best=4)
    hot = SamplingParameters(temperature=2.0, top_k=3, seed=1)
    [found] = sample(table, [Request([1, EOS], 8, (4,), sampling=hot)], config)
    for hypothesis in found:
        assert hypothesis.tokens[0] == 4
        expected = table.log_probability(1, tuple(hypothesis.tokens))
        assert hypothesis.score == pytest.approx(expected / (len(hypothesis.tokens) + 1), abs=1e-5)


def test_one_allowed_token_is_greedy_search():
    table, requests = TableDecoder(8), [Request([source, EOS], 6) for source in range(6)]
    only_best = [
        Request(r.source, r.limit, sampling=SamplingParameters(top_k=1, seed=s))
        for s, r in enumerate(requests)
    ]
    assert sample(table, only_best, DecodingConfig(kind="sample")) == greedy_search(
        table, requests, DecodingConfig(kind="greedy")
    )


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_searches_and_the_sampler_choose_alike(seed):
    """Penalties count what a search has said; forced tokens count too."""
    parameters = SamplingParameters(
        seed=seed,
        temperature=(0.0, 1.3)[seed % 2],
        top_k=4,
        repetition_penalty=1.3,
        presence_penalty=0.5,
        frequency_penalty=0.7,
        logit_bias={5: 1.0},
    )
    table, prefix = TableDecoder(seed, words=6, end=-1.0), (6, 5)
    request = Request([4, EOS], 9, prefix, parameters, stream=3, read=[4, 4, 7])
    [[found]] = sample(table, [request], DecodingConfig(kind="sample"))
    state = SamplingState(parameters, stream=3, prompt=[4, 4, 7])
    written: list[int] = []
    while len(written) < 8 and (not written or written[-1] != EOS):
        logits = table.logits(4, tuple(written))
        logits[list(OWN.never)] = -torch.inf
        token = int(choose_tokens(logits[None], [state]))
        written.append(prefix[len(written)] if len(written) < 2 else token)
        state.advance(written[-1])
    assert found.tokens == [token for token in written if token != EOS]


def test_seeds_and_streams_tell_draws_apart():
    rows = [tuple(numbers(seed, stream, 50)) for seed in (0, 1) for stream in (0, 1)]
    assert len(set(rows)) == len(rows)
    assert rows[0] == tuple(numbers(0, 0, 50))


@pytest.mark.parametrize("bad", [{"temperature": -1}, {"top_k": 0}, {"top_p": 1.5}, {"min_p": -1}])
def test_impossible_parameters_are_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        SamplingParameters.parse(bad)
