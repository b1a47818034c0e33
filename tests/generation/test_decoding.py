"""The numerical contract of decoding: cached = uncached, batched = one by one, never [PAD]."""

from __future__ import annotations

import itertools
import threading

import pytest
import torch
from toy_decoders import EOS, UncachedDecoder, tiny_model

from peluche.errors import ConfigError, DataError
from peluche.generation.batching import batches, generate
from peluche.generation.config import DecodingConfig
from peluche.generation.decoder import ModelDecoder
from peluche.generation.search import Request
from peluche.inference.decoding import PackedDecoder

CONFIGS = [
    DecodingConfig(kind="greedy"),
    DecodingConfig(kind="beam", beams=3, n_best=2),
    DecodingConfig(kind="beam", beams=4, length_normalization="gnmt", length_penalty=0.6),
]
MODELS = [
    {"positions": "sinusoidal"},
    {"positions": "learned", "norm_placement": "post"},
    {"positions": "rope", "kv_heads": 2, "norm": "rmsnorm", "activation": "swiglu"},
    {"positions": "alibi", "norm_placement": "sandwich", "bias": False, "activation": "gelu"},
    {"positions": "relative", "kv_heads": 1, "tie_embeddings": "none", "decoder_layers": 1},
]


def requests(count: int = 8, vocabulary: int = 40) -> list[Request]:
    generator = torch.Generator().manual_seed(7)
    lengths = torch.randint(1, 12, (count,), generator=generator).tolist()
    made = []
    for number, length in enumerate(lengths):
        words = torch.randint(4, vocabulary, (length,), generator=generator).tolist()
        prefix = tuple(words[: number % 3]) if number % 4 == 0 else ()
        made.append(Request([*words, EOS], limit=length + 4, prefix=prefix))
    return made


def assert_equal_results(found, expected):
    """Equal scores; equal tokens unless the two best hypotheses differ by less than 1e-4."""
    for ours, theirs in zip(found, expected, strict=True):
        scores = [h.score for h in theirs]
        # Sums over a text of what may each differ by 1e-5.
        assert [h.score for h in ours] == pytest.approx(scores, rel=1e-4, abs=1e-5)
        if all(a - b > 1e-4 for a, b in itertools.pairwise(scores)):
            assert [h.tokens for h in ours] == [h.tokens for h in theirs]


@pytest.mark.parametrize("settings", MODELS, ids=lambda settings: settings["positions"])
@pytest.mark.parametrize("config", CONFIGS, ids=["greedy", "beam-average", "beam-gnmt"])
def test_cached_equals_uncached_and_batched_equals_one_by_one(settings, config):
    model = tiny_model(**settings)
    cached = generate(ModelDecoder(model), requests(), config)
    assert_equal_results(cached, generate(UncachedDecoder(model), requests(), config))
    alone = [generate(ModelDecoder(model), [request], config)[0] for request in requests()]
    assert_equal_results(cached, alone)


@pytest.mark.parametrize("config", [*CONFIGS, DecodingConfig(kind="sample", n_best=5)])
def test_special_tokens_are_never_written(config):
    model = tiny_model(seed=1)
    with torch.no_grad():
        model.head.weight[:3] *= 50.0
    for results in generate(ModelDecoder(model), requests(), config):
        for hypothesis in results:
            assert min(hypothesis.tokens, default=EOS + 1) > EOS


@pytest.mark.parametrize("config", CONFIGS, ids=["greedy", "beam-average", "beam-gnmt"])
def test_limits_hold(config):
    for request, results in zip(
        requests(), generate(ModelDecoder(tiny_model(2)), requests(), config), strict=True
    ):
        assert len(results) == config.n_best
        assert all(len(h.tokens) < request.limit for h in results)


def test_batches_respect_the_budget_and_hold_every_row_once():
    lengths = [3, 50, 7, 7, 1, 120, 4, 9]
    made = list(batches(lengths, 100))
    assert sorted(row for batch in made for row in batch) == list(range(len(lengths)))
    for batch in made:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= 100
    assert made[0] == [5]


@pytest.mark.parametrize("config", [*CONFIGS, DecodingConfig(kind="sample", n_best=2)])
def test_workers_change_nothing(config, monkeypatch):
    monkeypatch.setattr("peluche.generation.batching.LEAST_TOKENS", 10)
    decoder, threads = PackedDecoder(tiny_model()), torch.get_num_threads()
    used = set()
    start = decoder.start

    def watched(*arguments):
        used.add((threading.get_ident(), torch.get_num_threads()))
        return start(*arguments)

    monkeypatch.setattr(decoder, "start", watched)
    torch.set_num_threads(2)
    try:
        found = generate(decoder, requests(40), config)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert {count for _, count in used} == {1}
    assert threading.get_ident() not in {thread for thread, _ in used}
    decoder.parallel = False
    assert_equal_results(found, generate(decoder, requests(40), config))


def test_an_error_in_a_worker_is_raised_and_threads_restored(monkeypatch):
    decoder, threads = PackedDecoder(tiny_model()), torch.get_num_threads()

    def fail(*arguments):
        raise DataError("no")

    monkeypatch.setattr(decoder, "start", fail)
    monkeypatch.setattr("peluche.generation.batching.LEAST_TOKENS", 10)
    torch.set_num_threads(2)
    try:
        with pytest.raises(DataError):
            generate(decoder, requests(40), CONFIGS[0])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_limit_is_an_affine_function_of_the_source_with_a_cap():
    config = DecodingConfig(max_length_factor=1.5, max_length_offset=4, max_length=30)
    assert [config.limit(n) for n in (1, 10, 100)] == [5 + 1, 19 + 1, 30 + 1]
    assert config.limit(1, prefix=9) == 9 + 1


def test_normalisers_are_those_of_the_papers():
    average = DecodingConfig(length_penalty=0.5)
    gnmt = DecodingConfig(length_normalization="gnmt", length_penalty=0.5)
    assert float(average.normaliser(9)) == pytest.approx(3.0)
    assert float(gnmt.normaliser(19)) == pytest.approx(2.0)
    assert float(DecodingConfig(length_penalty=0.0).normaliser(9)) == 1.0


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"beams": 3, "n_best": 4}, "beams 4"),
        ({"kind": "greedy", "n_best": 2}, "'beam' or 'sample'"),
        ({"length_penalty": -1.0}, "length_penalty"),
        ({"beam": 3}, "beams"),
    ],
)
def test_impossible_settings_are_refused(settings, remedy):
    with pytest.raises(ConfigError, match=remedy):
        DecodingConfig.parse(settings)
