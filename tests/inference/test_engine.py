"""Requests that share a model get what they get alone; one that fails, fails alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from toy_engines import collect, finish

from peluche.errors import ConfigError, DataError, NumericsError
from peluche.generation.requests import GenerationRequest
from peluche.generation.sampler import Sampler
from peluche.generation.sampling import SamplingParameters
from peluche.inference.engine import Engine, EngineConfig, Finished
from peluche.inference.runner import Chunk, fastest_runner
from peluche.inference.speculation import Drafter, PromptLookup
from peluche.models.decoder import Decoder, DecoderConfig
from peluche.text.tokenizer import OWN, SpecialIds

VOCABULARY = 40
MODELS = {
    "packed": {"kv_heads": 2, "norm": "rmsnorm", "activation": "swiglu", "bias": False},
    "windows": {"window": {"size": 5, "global_every": 2}, "positions": "alibi"},
    "windows everywhere": {"window": {"size": 9}, "positions": "alibi"},
    "latent": {"latent": {"kv_rank": 8, "rope_width": 4}, "bias": False, "layers": 1},
}
PROMPTS = [[5, 6, 7, 8, 9, 10], [5, 6, 7, 8, 9], [11], [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]]


def model_with(**settings: object) -> Decoder:
    """In double precision, so that rounding makes no two tokens change places."""
    torch.manual_seed(0)
    sizes = {"d_model": 16, "layers": 2, "heads": 4, "d_ff": 24, "max_length": 40}
    model = DecoderConfig.parse(sizes | settings).build(VOCABULARY).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def engine_of(
    model: Decoder, blocks: int = 10, drafter: Drafter | None = None, **config: object
) -> Engine:
    runner = fastest_runner(model, blocks, 4)
    sampler = Sampler(OWN, VOCABULARY)
    return Engine(runner, sampler, EngineConfig.parse(config), drafter)


def request(tokens: Sequence[int], most: int, **sampling: object) -> GenerationRequest:
    parameters = SamplingParameters.parse(sampling)
    return GenerationRequest(tokens=tuple(tokens), max_tokens=most, sampling=parameters)


def requests() -> list[GenerationRequest]:
    greedy = [request(tokens, 12, temperature=0) for tokens in PROMPTS]
    drawn = [
        request(tokens, 3 + 3 * number, temperature=1.5, seed=number, repetition_penalty=1.3)
        for number, tokens in enumerate(PROMPTS)
    ]
    return [*greedy, *drawn]


def alone(model: Decoder, asked: GenerationRequest, special: SpecialIds = OWN) -> list[int | str]:
    """By the plain model, all over again for each token."""
    sampler, tokens, given = Sampler(special, VOCABULARY), list(asked.tokens), list[int | str]()
    sampler.add(0, asked)
    for _ in range(asked.max_tokens):
        with torch.inference_mode():
            logits = model.logits(model.hidden(torch.tensor([tokens]))[:, -1])
        (chosen,) = sampler.choose([0], logits)
        tokens.append(chosen.token)
        given.append(chosen.token)
        if chosen.ended:
            return [*given, "stop"]
    return [*given, "length"]


@pytest.mark.parametrize("kind", MODELS)
def test_requests_get_what_they_get_alone(kind):
    model, asked = model_with(**MODELS[kind]), requests()
    expected = [alone(model, one) for one in asked]
    for drafter in (None, PromptLookup(2, 1)):
        engine = engine_of(model, 7, drafter, running=5, step_tokens=11)
        for one in asked:
            engine.add(one)
        found = finish(engine)
        assert [found[key] for key in range(len(asked))] == expected
        assert engine.counters.preemptions > 0
        assert engine.counters.cached > 0
        assert (engine.counters.accepted > 0) == (drafter is not None)
        assert engine.pool.used == 0


def test_requests_that_come_later_change_nothing():
    model = model_with()
    engine, asked, found = engine_of(model, running=3, step_tokens=6), requests(), {}
    for one in asked:
        engine.add(one)
        collect(engine.step(), found)
        collect(engine.step(), found)
    while not engine.idle:
        collect(engine.step(), found)
    assert [found[key] for key in range(len(asked))] == [alone(model, one) for one in asked]


def test_samples_of_one_prompt_share_its_blocks():
    model = model_with()
    engine, prompt = engine_of(model, blocks=40), [5, 6, 7, 8] * 5 + [9]
    asked = [
        GenerationRequest(tokens=tuple(prompt), max_tokens=4, stream=stream) for stream in range(6)
    ]
    for one in asked:
        engine.add(one)
    found = finish(engine)
    assert engine.counters.cached == 5 * 20
    assert engine.counters.peak_blocks <= 5 + 6 * 2
    assert list(found.values()) == [alone(model, one) for one in asked]
    assert len({tuple(given) for given in found.values()}) > 1


class IllRunner:
    """Gives no numbers to whoever has read a token."""

    def __init__(self, model: Decoder, token: int) -> None:
        self.inner, self.token = fastest_runner(model, 14, 4), token
        self.blocks, self.block_size = self.inner.blocks, self.inner.block_size
        self.vocabulary, self.longest, self.copy = VOCABULARY, None, self.inner.copy
        self.window = None

    def run(self, chunks: Sequence[Chunk]) -> torch.Tensor:
        rows = self.inner.run(chunks).clone().split([chunk.wanted for chunk in chunks])
        for chunk, part in zip(chunks, rows, strict=True):
            if self.token in chunk.tokens:
                part.fill_(torch.nan)
        return torch.cat(rows)


def test_a_request_without_numbers_fails_alone():
    model, asked = model_with(), requests()
    special = OWN._replace(never=(*OWN.never, 39))  # nobody else comes across it
    engine = Engine(IllRunner(model, 39), Sampler(special, VOCABULARY), EngineConfig(running=6))
    keys = [engine.add(one) for one in asked]
    ill = engine.add(request([5, 6, 7, 8, 39], 5))
    errors, found = {}, {}
    while not engine.idle:
        events = engine.step()
        collect(events, found)
        errors |= {event.key: event.error for event in events if isinstance(event, Finished)}
    assert found[ill] == ["error"]
    assert isinstance(errors.pop(ill), NumericsError)
    assert set(errors.values()) == {None}
    assert [found[key] for key in keys] == [alone(model, one, special) for one in asked]
    assert engine.pool.used == 0


def test_requests_that_cannot_be_are_refused_and_others_go_on():
    model = model_with(positions="learned")
    engine = engine_of(model, blocks=14)
    key = engine.add(request([5, 6], 4, temperature=0))
    engine.step()
    with pytest.raises(DataError, match="a prompt of 30 tokens and 12 more"):
        engine.add(request([5] * 30, 12))  # learned positions end at 40, blocks at 56
    with pytest.raises(ConfigError, match="there is no token 40"):
        engine.add(request([5, VOCABULARY], 4))
    guided = {"tokens": (5,), "max_tokens": 4, "guide": {"kind": "choice", "choices": ["a"]}}
    with pytest.raises(ConfigError, match="guide"):
        engine.add(GenerationRequest.parse(guided))
    assert len(finish(engine)[key]) >= 3
    assert engine.idle
    assert engine.pool.used == 0


def test_a_request_may_fill_the_whole_memory():
    model = model_with(positions="learned")
    engine, one = engine_of(model, blocks=10), request([5] * 30, 11, temperature=1.0, seed=1)
    assert engine.capacity == 40
    engine.add(one)
    assert finish(engine)[0] == alone(model, one)


def test_refreshed_weights_are_those_of_all_that_follows():
    model, one = model_with(), request([5, 6, 7, 8, 9], 10, temperature=0)
    engine = engine_of(model)
    engine.add(one)
    before = finish(engine)[0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(-0.7)
    engine.refresh(model)
    key = engine.add(one)
    assert finish(engine)[key] == alone(model, one) != before
    assert engine.counters.cached == 0


def test_counters_say_what_was_done():
    engine = engine_of(model_with(), blocks=20, prefix_cache=False)
    for one in (request([5] * 6, 3), request([6] * 5, 4)):
        engine.add(one.model_copy(update={"ignore_eos": True}))
    engine.step()
    assert engine.counters.blocks == engine.counters.peak_blocks == 4
    finish(engine)
    done = engine.counters
    assert (done.steps, done.written, done.cached, done.blocks) == (4, 7, 0, 0)
    assert done.read == 6 + 2 + 5 + 3
    assert done.tokens_per_second == done.written / done.seconds > 0


def test_a_step_has_room_for_all_that_run():
    with pytest.raises(ConfigError, match="nearest that fits: step_tokens 32"):
        EngineConfig.parse({"running": 32, "step_tokens": 31})
