"""An engine without a model: its memory holds the tokens themselves, so that a block that was lost,
overwritten or given to another shows in what is written next."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from peluche.errors import NumericsError, PelucheError
from peluche.generation.requests import GenerationRequest
from peluche.generation.sampler import Chosen
from peluche.inference.engine import Engine, EngineConfig, Event, Token
from peluche.inference.runner import Chunk

VOCABULARY = 7
NOTHING = -1
POISON = 5  # whoever reads this token gets no numbers


class TokenRunner:
    """The next token is a function of all tokens before it, as they are found in memory."""

    longest = None
    vocabulary = VOCABULARY

    def __init__(self, blocks: int, block_size: int) -> None:
        self.blocks, self.block_size = blocks, block_size
        self.memory = [[NOTHING] * block_size for _ in range(blocks)]

    def run(self, chunks: Sequence[Chunk]) -> Tensor:
        rows = []
        for chunk in chunks:
            for number, token in enumerate(chunk.tokens):
                block, place = divmod(chunk.start + number, self.block_size)
                self.memory[chunk.blocks[block]][place] = token
        for chunk in chunks:
            held = [token for block in chunk.blocks for token in self.memory[block]]
            end = chunk.start + len(chunk.tokens)
            rows += [answer(held[:place]) for place in range(end - chunk.wanted + 1, end + 1)]
        return torch.tensor(rows).reshape(-1, VOCABULARY)

    def copy(self, source: int, target: int) -> None:
        self.memory[target] = list(self.memory[source])


def answer(tokens: Sequence[int]) -> list[float]:
    """Logits after some tokens."""
    if POISON in tokens:
        return [float("nan")] * VOCABULARY
    mixed = hash(tuple(tokens))
    return [float((mixed >> (5 * token)) % 31) for token in range(VOCABULARY)]


class Likeliest:
    """A sampler without parameters, quick enough for thousands of runs; POISON is never chosen."""

    def __init__(self) -> None:
        self.keys: set[int] = set()

    def add(self, key: int, request: GenerationRequest) -> None:
        self.keys.add(key)

    def remove(self, key: int) -> None:
        self.keys.remove(key)

    def choose(self, keys: Sequence[int], logits: Tensor) -> list[Chosen | PelucheError]:
        assert self.keys >= set(keys)
        return [_choose(row) for row in logits.tolist()]


def _choose(row: list[float]) -> Chosen | PelucheError:
    if row[0] != row[0]:
        return NumericsError("no numbers")
    token = max((t for t in range(VOCABULARY) if t != POISON), key=lambda token: row[token])
    return Chosen(token, 0.0, [], token == 3 and row[token] == 30)


def alone(asked: GenerationRequest) -> list[int | str]:
    """What a request is given without any engine."""
    tokens, given = list(asked.tokens), list[int | str]()
    for _ in range(asked.max_tokens):
        chosen = _choose(answer(tokens))
        if isinstance(chosen, PelucheError):
            return [*given, "error"]
        tokens.append(chosen.token)
        given.append(chosen.token)
        if chosen.ended:
            return [*given, "stop"]
    return [*given, "length"]


def toy_engine(blocks: int, block_size: int, drafter=None, **config) -> Engine:
    runner = TokenRunner(blocks, block_size)
    return Engine(runner, Likeliest(), EngineConfig(**config), drafter)


def finish(engine: Engine) -> dict[int, list[int | str]]:
    """What every request is given, with the reason of its end last."""
    found: dict[int, list[int | str]] = {}
    while not engine.idle:
        collect(engine.step(), found)
    return found


def collect(events: Sequence[Event], found: dict[int, list[int | str]]) -> None:
    for event in events:
        given = found.setdefault(event.key, [])
        assert not given or isinstance(given[-1], int), "nothing comes after the end"
        given.append(event.chosen.token if isinstance(event, Token) else event.reason)


def check(engine: Engine) -> None:
    """What holds after every step."""
    pool, scheduler = engine.pool, engine.scheduler
    held = [block for one in scheduler.running for block in one.blocks]
    blocks = range(len(pool.references))
    assert [held.count(block) for block in blocks] == pool.references
    assert sorted({*held, *pool.empty, *pool.unused}) == list(blocks)
    assert len(pool.empty) + len(pool.unused) + len(set(held)) == len(blocks)
    assert set(pool.unused) <= set(pool.places)
    for block, (parent, tokens) in pool.places.items():
        assert pool.children[parent][tokens] == block
        assert len(tokens) == pool.block_size
        # A parent outlives its children.
        assert parent == -1 or parent in pool.places
        assert pool.references[block] == 0 or parent == -1 or pool.references[parent] > 0
    keys = [one.key for one in [*scheduler.running, *scheduler.waiting]]
    assert keys == sorted(keys)
    assert set(keys) == set(engine.left) == engine.sampler.keys
    for one in scheduler.waiting:
        assert not one.blocks
        assert one.computed == 0
    for one in scheduler.running:
        assert one.computed < len(one.tokens) or one.computed == 0
        assert len(one.blocks) * pool.block_size >= one.computed
        memory = [token for block in one.blocks for token in engine.runner.memory[block]]
        assert memory[: one.computed] == one.tokens[: one.computed]
