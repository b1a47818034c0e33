"""Streams that are read in turn, dropped half-way, guided, searched and failing, over a memory that
holds the tokens themselves: each says what it says alone, and no block is lost.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
import torch
from toy_engines import POISON, TokenRunner, check

from peluche.errors import PelucheError
from peluche.generation.guides import GuideFactory
from peluche.generation.sampler import Sampler
from peluche.inference.engine import Engine, EngineConfig
from peluche.inference.runner import Read
from peluche.inference.speculation import PromptLookup
from peluche.models.decoder import DecoderConfig
from peluche.tasks import generate
from peluche.tasks.text_requests import TextRequest
from peluche.text.tokenizer import TokenizerConfig

pytest.importorskip("llguidance")
INTERLEAVINGS = 1000
TOKENIZER = TokenizerConfig(
    kind="bpe", byte_level=True, vocab_size=264, normalization="none"
).build(["the cat sat on the mat"])
VOCABULARY = len(TOKENIZER)
GUIDES = GuideFactory(TOKENIZER, VOCABULARY)
MODEL = DecoderConfig(d_model=8, layers=1, heads=1, d_ff=8).build(VOCABULARY)
# How requests differ, and how often each way comes.
WAYS = [
    *[{}] * 4,
    *[{"temperature": 0}] * 3,
    {"temperature": 0.7, "top_k": 5, "repetition_penalty": 1.3},
    {"stop": ["e", "a"], "logprobs": 2},
    {"on_overflow": "slide"},
    {"beams": 2},
    {"beams": 3, "n_best": 2},
    {"penalty_alpha": 0.5, "candidates": 2},
    {"guide": {"kind": "regex", "pattern": "[ab]{2,4}"}},
    {"guide": {"kind": "choice", "choices": ["the cat", "the mat"]}},
    {"guide": {"kind": "json_schema", "json_schema": {"enum": [1, [2], "c"]}}},
    {"guide": {"kind": "grammar", "lark": 'start: "a" start | "b"'}},
    {"guide": {"kind": "regex", "pattern": "("}},  # cannot be followed
    {"logit_bias": {VOCABULARY: 1.0}},  # there is no such token
    {"max_tokens": 60},  # never fits
]


class Ended(NamedTuple):
    """What became of a request."""

    text: str
    tokens: list[int]
    reason: str | None
    error: str | None


class Runner(TokenRunner):
    """As `TokenRunner`, with as many tokens as the tokenizer."""

    vocabulary = VOCABULARY

    def run(self, chunks):
        return self.read(chunks).logits

    def read(self, chunks):
        mixed = [
            self._read(chunk, number) for chunk in chunks for number in range(len(chunk.tokens))
        ]
        ends = np.cumsum([len(chunk.tokens) for chunk in chunks])
        rows = [
            mixed[row]
            for chunk, end in zip(chunks, ends, strict=True)
            for row in range(end - chunk.wanted, end)
        ]
        numbers = np.array([_logits(one) for one in rows], dtype=np.float32)
        logits = torch.from_numpy(numbers.reshape(-1, VOCABULARY))
        return Read(logits, logits[:, :4])


def _logits(mixed):
    if mixed is None:
        return np.full(VOCABULARY, np.nan)
    logits = 3 * np.random.default_rng(mixed % 2**63).standard_normal(VOCABULARY)
    logits[TOKENIZER.eos_id] += 5
    return logits


class Watched(Sampler):
    """A sampler whose keys `check` can see."""

    def __init__(self, special, vocabulary):
        super().__init__(special, vocabulary, GUIDES)

    @property
    def keys(self):
        return set(self._running)


@pytest.fixture
def make(monkeypatch):
    """Makes a generator over such a runner."""
    settings = {}

    def start(model, sampler, context, config, draft):
        drafter = PromptLookup(2, 1) if settings["lookup"] else None
        runner = Runner(settings["blocks"], settings["size"])
        return Engine(runner, sampler, settings["config"], drafter)

    monkeypatch.setattr(generate, "start_engine", start)
    monkeypatch.setattr(generate, "Sampler", Watched)
    monkeypatch.setattr(generate, "trim_memory", lambda: None)

    def make(chosen):
        settings.update(chosen)
        return generate.TextGenerator(MODEL, TOKENIZER)

    return make


def some_settings(chance):
    running, size = chance.randint(1, 4), chance.choice([1, 2, 4])
    config = EngineConfig(
        running=running,
        step_tokens=running + chance.randint(0, 8),
        prefix_cache=chance.random() < 0.8,
    )
    blocks = -(-chance.choice([12, 20]) // size)
    return {"blocks": blocks, "size": size, "config": config, "lookup": chance.random() < 0.5}


def some_request(chance, number):
    tokens = [chance.randrange(6, 9) for _ in range(chance.randint(1, 6))]
    if chance.random() < 0.1:
        tokens[chance.randrange(len(tokens))] = POISON
    values = {"prompt": tuple(tokens), "max_tokens": chance.randint(1, 6), "stream": number}
    return TextRequest.flat(values | chance.choice(WAYS))


def ended(result):
    error = None if result.error is None else str(result.error)
    return Ended(result.text, [said.id for said in result.tokens], result.finish_reason, error)


class Consumer:
    """Somebody who reads a stream."""

    def __init__(self, generator, request):
        self.request, self.pieces = request, generator.stream(request)
        self.text, self.result, self.error = "", None, None

    def go_on(self):
        """Read a piece; whether there are more."""
        try:
            piece = next(self.pieces)
        except PelucheError as error:
            self.error = str(error)
            return False
        self.text, self.result = self.text + piece.text, piece.result
        return not piece.last

    def is_as(self, alone):
        """Whether all that was read is what the request gives alone."""
        if self.error is not None:
            return self.error == alone.error
        return ended(self.result) == alone and self.text == alone.text


@pytest.mark.parametrize("part", range(4))
def test_whoever_leaves_or_fails_every_stream_says_what_it_says_alone(part, make):
    seen = Counter()
    for seed in range(part, INTERLEAVINGS, 4):
        chance = random.Random(seed)
        settings = some_settings(chance)
        generator, reading, done = make(settings), [], []
        left = []
        for number in range(chance.randint(4, 12)):
            event = chance.random()
            if event < 0.5 or not reading:
                reading.append(Consumer(generator, some_request(chance, number)))
            one = chance.choice(reading)
            if event > 0.85:
                reading.remove(one)
                left.append(one)
                if chance.random() < 0.5:
                    one.pieces.close()
                else:
                    one.pieces = None  # forgotten
            elif not one.go_on():
                reading.remove(one)
                done.append(one)
            check(generator.engine)
        while reading:
            one = chance.choice(reading)
            if not one.go_on():
                reading.remove(one)
                done.append(one)
            check(generator.engine)
        generator.step()
        assert generator.engine.idle
        assert generator.engine.pool.used == 0
        for one in [*done, *left]:
            (result,) = make(settings).generate([one.request])
            alone = ended(result)
            assert one.is_as(alone) if one in done else alone.text.startswith(one.text)
            seen[alone.reason] += one in done
            seen["guided"] += one in done and one.request.guide is not None
            seen["searched"] += one in done and one.request.search is not None
        seen["left"] += len(left)
        seen["preempted"] += generator.engine.counters.preemptions
        seen["guessed"] += generator.engine.counters.accepted
    ways = ("stop", "length", "error", "guided", "searched", "left", "preempted", "guessed")
    assert min(seen[way] for way in ways) > 0, seen
