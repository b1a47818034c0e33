"""Beam search against brute force and against a textbook search that never stops early."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_decoders import (
    EOS,
    TableDecoder,
    beam_search_without_stopping,
    every_hypothesis,
)

from peluche.generation.beam import BeamStep, beam_search, best_continuations
from peluche.generation.best import GROUP, best_token
from peluche.generation.config import DecodingConfig
from peluche.generation.search import Request, greedy_search

configs = st.builds(
    DecodingConfig,
    beams=st.sampled_from([2, 3, 5]),
    n_best=st.sampled_from([1, 2]),
    length_normalization=st.sampled_from(["average", "gnmt"]),
    length_penalty=st.sampled_from([0.0, 0.6, 1.0, 2.0]),
)
tables = st.builds(
    TableDecoder,
    seed=st.integers(0, 10**6),
    sharpness=st.sampled_from([0.5, 2.0, 4.0]),
    end=st.sampled_from([-2.0, 0.0, 2.0, 4.0]),
)


def assert_same(found, expected):
    assert [h.tokens for h in found] == [h.tokens for h in expected]
    assert [h.score for h in found] == pytest.approx([h.score for h in expected], abs=1e-5)


@given(tables, configs, st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_a_wide_beam_finds_what_brute_force_finds(table, config, limit):
    request = Request([5, EOS], limit)
    expected = every_hypothesis(table, request, config)
    config = config.model_copy(update={"beams": 3 * len(expected), "n_best": len(expected)})
    [found] = beam_search(table, [request], config)
    assert_same(found, expected)


@given(tables, configs, st.integers(2, 9))
@settings(max_examples=80, deadline=None)
def test_stopping_changes_nothing(table, config, limit):
    requests = [Request([source, EOS], limit - source % 2) for source in range(3)]
    found = beam_search(table, requests, config)
    for results, request in zip(found, requests, strict=True):
        assert_same(results, beam_search_without_stopping(table, request, config))


def test_an_early_end_at_the_top_does_not_stop_the_search():
    # [EOS] is the likeliest first token, yet the sentence 4 4 4 is better per token.
    class Early(TableDecoder):
        def logits(self, source, prefix):
            likely = {0: (EOS, 0.5, 4, 0.45), 1: (4, 0.97), 2: (4, 0.97), 3: (EOS, 0.97)}
            chosen = likely[min(len(prefix), 3)]
            probabilities = torch.full((7,), 0.01 / 7)
            for token, probability in zip(chosen[::2], chosen[1::2], strict=True):
                probabilities[token] = probability
            return probabilities.log()

    request = Request([1, EOS], 6)
    [[best]] = beam_search(Early(0), [request], DecodingConfig(beams=2))
    assert best.tokens == [4, 4, 4]
    [[short]] = beam_search(Early(0), [request], DecodingConfig(beams=2, length_penalty=0.0))
    assert short.tokens == []


def test_the_search_stops_once_no_beam_can_win():
    table = TableDecoder(1, sharpness=1.0, end=12.0)
    beam_search(table, [Request([1, EOS], 500)], DecodingConfig(beams=2))
    assert table.reads < 20


@given(tables, st.integers(1, 8))
@settings(max_examples=30, deadline=None)
def test_one_beam_is_greedy_search(table, limit):
    requests = [Request([source, EOS], limit) for source in range(4)]
    one_beam = beam_search(table, requests, DecodingConfig(beams=1))
    assert one_beam == greedy_search(table, requests, DecodingConfig(kind="greedy"))


@given(tables, configs)
@settings(max_examples=30, deadline=None)
def test_prefixes_are_forced_each_sentence_its_own(table, config):
    prefixes = [(), (4,), (6, 5, 4)]
    requests = [Request([7, EOS], 6, prefix) for prefix in prefixes]
    found = beam_search(table, requests, config)
    for results, request in zip(found, requests, strict=True):
        assert_same(results, beam_search_without_stopping(table, request, config))
        assert all(tuple(h.tokens[: len(request.prefix)]) == request.prefix for h in results)


def test_a_prefix_may_hold_an_unknown_token_but_nothing_else_does():
    table = TableDecoder(3, sharpness=0.1)
    [results] = beam_search(table, [Request([1, EOS], 6, (1, 4))], DecodingConfig(n_best=5))
    for hypothesis in results:
        assert hypothesis.tokens[:2] == [1, 4]
        assert min(hypothesis.tokens[2:], default=EOS) >= EOS


def test_an_observer_can_rebuild_the_hypotheses():
    table, steps = TableDecoder(5, end=1.0), []
    config = DecodingConfig(beams=3, n_best=2)
    requests = [Request([source, EOS], 3 + 2 * source) for source in range(4)]
    found = beam_search(table, requests, config, steps.append)
    paths = {sentence: [()] * config.beams for sentence in range(len(requests))}
    rebuilt: dict[int, list[tuple[float, tuple[int, ...]]]] = {s: [] for s in paths}
    for step in steps:
        assert isinstance(step, BeamStep)
        for row, sentence in enumerate(step.sentences.tolist()):
            before = paths[sentence]
            for score, parent in zip(
                step.finished[row].tolist(), step.finished_parents[row].tolist(), strict=True
            ):
                if score > -torch.inf:
                    rebuilt[sentence].append((score, before[parent]))
            paths[sentence] = [
                (*before[parent], token)
                for parent, token in zip(
                    step.parents[row].tolist(), step.tokens[row].tolist(), strict=True
                )
            ]
    for sentence, results in enumerate(found):
        best = sorted(rebuilt[sentence], reverse=True)[: config.n_best]
        assert [list(tokens) for _, tokens in best] == [h.tokens for h in results]


@given(st.integers(0, 10**6), st.integers(5, 3 * GROUP + 5) | st.just(2 * GROUP), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_searching_the_best_groups_finds_the_best_continuations(seed, vocabulary, beams):
    torch.manual_seed(seed)
    log_probabilities = torch.randn(3 * beams, vocabulary)
    log_probabilities[:, :3] = -torch.inf
    scores = torch.randn(3, beams)
    scores[0, 1:] = -torch.inf
    count = min(2 * beams, vocabulary - 3)
    assert torch.equal(best_token(log_probabilities), log_probabilities.argmax(-1))
    found = best_continuations(log_probabilities, scores, count)
    sums = log_probabilities.view(3, beams, -1) + scores[:, :, None]
    expected = sums.flatten(1).topk(count)
    assert torch.equal(found.scores, expected.values)
    assert torch.equal(found.parents * vocabulary + found.tokens, expected.indices)
