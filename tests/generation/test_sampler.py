"""The sampler: every request as if it were alone, whatever shares its batch."""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interrupting import interrupted
from peluche.errors import ConfigError, DataError, NumericsError
from peluche.generation.requests import GenerationRequest
from peluche.generation.sampler import Chosen, Sampler
from peluche.generation.sampling import SamplingParameters
from peluche.text.tokenizer import OWN, SpecialIds

VOCABULARY = 40
PLAIN = SpecialIds(pad=-1, unk=-1, bos=-1, eos=2)

parameters = st.builds(
    SamplingParameters,
    temperature=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    top_k=st.sampled_from([None, 3, 20]),
    top_p=st.sampled_from([0.6, 1.0]),
    min_p=st.sampled_from([0.0, 0.1]),
    typical_p=st.sampled_from([0.8, 1.0]),
    repetition_penalty=st.sampled_from([1.0, 1.5]),
    presence_penalty=st.sampled_from([0.0, 1.0]),
    frequency_penalty=st.sampled_from([0.0, 0.5]),
    logit_bias=st.sampled_from([{}, {7: 3.0, 9: -100.0}]),
    seed=st.integers(0, 3),
)
requests = st.builds(
    GenerationRequest,
    tokens=st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=5),
    max_tokens=st.just(9),
    sampling=parameters,
    stream=st.integers(0, 3),
    logprobs=st.sampled_from([0, 2]),
    ignore_eos=st.booleans(),
)


def request(**options: object) -> GenerationRequest:
    fields = {"tokens": [5], "max_tokens": 9}
    return GenerationRequest.parse(fields | options)


def logits_of(key: int, step: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1000 * key + step)
    return torch.randn(VOCABULARY, generator=generator) * 2


def choose(sampler: Sampler, keys: list[int], steps: list[int]) -> list[Chosen]:
    logits = torch.stack([logits_of(key, step) for key, step in zip(keys, steps, strict=True)])
    before = logits.clone()
    found = sampler.choose(keys, logits)
    assert torch.equal(logits, before), "the caller's logits stay"
    return found


@given(st.lists(requests, min_size=1, max_size=5), st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_a_request_chooses_the_same_alone_and_in_any_batch(batch, seed):
    together = Sampler(OWN, VOCABULARY)
    for key, one in enumerate(batch):
        together.add(key, one)
    generator = torch.Generator().manual_seed(seed)
    found = {key: [] for key in range(len(batch))}
    for _ in range(5):
        order = torch.randperm(len(batch), generator=generator).tolist()
        keys = order[: int(torch.randint(1, len(batch) + 1, (), generator=generator))]
        steps = [len(found[key]) for key in keys]
        for key, chosen in zip(keys, choose(together, keys, steps), strict=True):
            found[key].append(chosen)
    for key, one in enumerate(batch):
        alone = Sampler(OWN, VOCABULARY)
        alone.add(key, one)
        for step, chosen in enumerate(found[key]):
            [expected] = choose(alone, [key], [step])
            assert chosen.token == expected.token
            assert chosen.logprob == pytest.approx(expected.logprob, abs=1e-6)
            assert [token for token, _ in chosen.top] == [token for token, _ in expected.top]


class Turns:
    """A guide that allows a token by the number of those before it."""

    def __init__(self) -> None:
        self.count = 0

    def build(self, config: object) -> Turns:
        return Turns()

    def allowed(self) -> torch.Tensor:
        return torch.arange(VOCABULARY) % 5 != self.count % 5

    def advance(self, token: int) -> bool:
        self.count += 1
        return False


def test_ctrl_c_at_any_line_leaves_all_requests_at_one_step():
    drawn = {"temperature": 1.5, "presence_penalty": 1.0, "top_p": 0.8}
    guide = {"kind": "regex", "pattern": "."}
    asked = [
        request(sampling={**drawn, "seed": 1}, guide=guide),
        request(sampling={**drawn, "frequency_penalty": 1.0}, stream=1, logprobs=2),
        request(sampling={"temperature": 0, "repetition_penalty": 2.0}),
    ]
    logits = torch.randn(3, VOCABULARY, generator=torch.Generator().manual_seed(0))

    def begin() -> Sampler:
        sampler = Sampler(OWN, VOCABULARY, Turns())
        for key, one in enumerate(asked):
            sampler.add(key, one)
        return sampler

    def choose_at(sampler: Sampler, steps: int) -> list[list[Chosen]]:
        return [sampler.choose([0, 1, 2], logits) for _ in range(steps)]

    expected, rooms = choose_at(begin(), 3), ("generation/sampl", "interrupts")
    line, there, went_on = 0, True, []
    while there:
        line, sampler = line + 1, begin()
        try:
            there = interrupted(line, functools.partial(choose_at, sampler, 1), *rooms)
        except KeyboardInterrupt:
            found = choose_at(sampler, 2)
            went_on.append(found == expected[1:])
            assert went_on[-1] or found == expected[:-1]
    assert went_on == sorted(went_on)
    assert went_on[0] < went_on[-1]


def test_log_probabilities_are_the_models_own():
    sampler = Sampler(OWN, VOCABULARY)
    biased = {"temperature": 3.0, "top_k": 1, "logit_bias": {"17": 100}}
    sampler.add(0, request(sampling=biased, logprobs=4))
    sampler.add(1, request(sampling={"temperature": 0}))
    [first, second] = choose(sampler, [0, 1], [0, 0])
    expected = logits_of(0, 0).log_softmax(-1)
    assert first.token == 17
    assert first.logprob == pytest.approx(float(expected[17]), abs=1e-5)
    best = expected.topk(4)
    assert [token for token, _ in first.top] == best.indices.tolist()
    assert [value for _, value in first.top] == pytest.approx(best.values.tolist(), abs=1e-5)
    assert second.top == []


def test_special_tokens_are_never_chosen_and_eos_ends():
    sampler = Sampler(OWN, VOCABULARY)
    for key in range(3):
        sampler.add(key, request(sampling={"temperature": 0}, ignore_eos=key == 2))
    logits = torch.zeros(3, VOCABULARY)
    logits[:, [0, 1, 2]] = 50.0
    logits[0, 3] = logits[1, 30] = logits[2, 3] = 10.0
    found = sampler.choose([0, 1, 2], logits)
    assert [(chosen.token, chosen.ended) for chosen in found[:2]] == [(3, True), (30, False)]
    assert found[2].token > 3
    assert not found[2].ended


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_of_no_numbers_fails_alone(broken, temperature):
    settings = {"temperature": temperature, "top_p": 0.9, "typical_p": 0.9, "seed": 4}
    alone, together = Sampler(PLAIN, VOCABULARY), Sampler(PLAIN, VOCABULARY)
    for key in range(3):
        together.add(key, request(sampling=settings, stream=key))
        alone.add(key, request(sampling=settings, stream=key))
    for step in range(4):
        logits = torch.stack([logits_of(key, step) for key in range(3)])
        logits[1, 6] = broken
        first, second, third = together.choose([0, 1, 2], logits)
        assert isinstance(second, NumericsError)
        assert "token 1 of this request" in str(second)
        assert [first, third] == alone.choose([0, 2], logits[[0, 2]])


def test_a_row_with_nothing_allowed_fails_alone():
    sampler = Sampler(PLAIN, VOCABULARY)
    sampler.add(0, request(ignore_eos=True))
    sampler.add(1, request())
    logits = torch.full((2, VOCABULARY), -torch.inf)
    logits[:, PLAIN.eos] = 0.0
    first, second = sampler.choose([0, 1], logits)
    assert isinstance(first, DataError)
    assert second == Chosen(PLAIN.eos, 0.0, [], True)


def test_half_precision_logits_are_taken():
    sampler = Sampler(PLAIN, VOCABULARY)
    sampler.add(0, request(sampling={"temperature": 0}))
    logits = logits_of(0, 0)[None]
    [chosen] = sampler.choose([0], logits.bfloat16().requires_grad_())
    assert chosen.token == int(logits.bfloat16().argmax())


def test_keys_are_used_once_and_forgotten():
    sampler = Sampler(PLAIN, VOCABULARY)
    sampler.add(0, request(sampling={"seed": 5}))
    with pytest.raises(ValueError, match="key 0 is in use"):
        sampler.add(0, request())
    first = [choose(sampler, [0], [step]) for step in range(5)]
    sampler.remove(0)
    with pytest.raises(KeyError):
        sampler.remove(0)
    sampler.add(0, request(sampling={"seed": 5}))
    assert [choose(sampler, [0], [step]) for step in range(5)] == first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": [VOCABULARY]}, "no token 40.*\n.*the prompt\n.*ids are 0 to 39"),
        ({"sampling": {"logit_bias": {99: 1}}}, "no token 99.*\n.*logit_bias"),
        ({"guide": {"kind": "regex", "pattern": "a"}}, "nothing here to make guides with"),
    ],
)
def test_requests_that_cannot_be_are_refused(options, message):
    sampler = Sampler(PLAIN, VOCABULARY)
    with pytest.raises(ConfigError, match=message):
        sampler.add(0, request(**options))
    sampler.add(0, request())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": []}, "tokens"),
        ({"tokens": [-1]}, "tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"logprobs": -1}, "logprobs"),
        ({"ignore_eos": True, "guide": {"kind": "regex", "pattern": "a"}}, "ends with .EOS."),
        ({"guide": {"kind": "xml"}}, "unknown kind 'xml'"),
        ({"guide": {"kind": "choice", "choices": []}}, "choices"),
        ({"sampling": {"temperature": 1e-9}}, "nearest that are not: 0"),
    ],
)
def test_records_refuse_what_cannot_be(options, message):
    with pytest.raises(ConfigError, match=message):
        request(**options)


@pytest.mark.parametrize(
    ("name", "value", "nearest"),
    [
        ("temperature", -1, "0"),
        ("top_k", 0, "1"),
        ("top_p", 1.2, "1"),
        ("top_p", 0, "greater than 0"),
        ("min_p", -0.5, "0"),
        ("typical_p", 3, "1"),
        ("repetition_penalty", 0, "0.01"),
        ("presence_penalty", 2.5, "2"),
        ("frequency_penalty", -9, "-2"),
        ("logit_bias", {3: 1000}, "100"),
        ("logit_bias", {-1: 1}, "0"),
        ("seed", -1, "0"),
    ],
)
def test_values_out_of_range_are_told_the_nearest_in_it(name, value, nearest):
    with pytest.raises(
        ConfigError, match=f"{name}.* {nearest}\n.*{value if name != 'logit_bias' else ''} now"
    ):
        SamplingParameters.parse({name: value})


@pytest.mark.parametrize("name", SamplingParameters.model_fields)
def test_what_is_not_a_number_is_refused(name):
    nan = float("nan")
    with pytest.raises(ConfigError, match=name):
        SamplingParameters.parse({name: {3: nan} if name == "logit_bias" else nan})
