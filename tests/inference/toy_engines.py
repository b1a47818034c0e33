"""An engine without a model: its memory holds the tokens themselves and all that they saw, so that
a block that was lost, overwritten or given to another shows in what is written next."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from peluche.errors import NumericsError, PelucheError
from peluche.generation.requests import GenerationRequest
from peluche.generation.sampler import Chosen
from peluche.inference.blocks import blocks_behind
from peluche.inference.engine import Engine, EngineConfig, Event, Token
from peluche.inference.runner import Chunk
from peluche.inference.scheduler import GONE

VOCABULARY = 7
NOTHING = -1
POISON = 5  # whoever reads this token gets no numbers
STEPS = 2000  # more than any test needs


# A token, and a number made of it and of what is kept of those in its window; None after POISON.
Kept = tuple[int, int | None]


class TokenRunner:
    """The next token is a function of the tokens in the window, as they are found in memory, and,
    through what is kept of these, of all before.
    """

    longest = None
    vocabulary = VOCABULARY

    def __init__(self, blocks: int, block_size: int, window: int | None = None) -> None:
        self.blocks, self.block_size, self.window = blocks, block_size, window
        self.memory: list[list[Kept]] = [[(NOTHING, NOTHING)] * block_size for _ in range(blocks)]

    def run(self, chunks: Sequence[Chunk]) -> Tensor:
        rows = []
        for chunk in chunks:
            found = [self._read(chunk, number) for number in range(len(chunk.tokens))]
            rows += [answer(mixed) for mixed in found[len(found) - chunk.wanted :]]
        return torch.tensor(rows).reshape(-1, VOCABULARY)

    def _read(self, chunk: Chunk, number: int) -> int | None:
        place, token = chunk.start + number, chunk.tokens[number]
        seen = [self._at(chunk, before) for before in range(place)[_last(self.window)]]
        block, slot = divmod(place, self.block_size)
        self.memory[chunk.blocks[block]][slot] = kept = keep(token, seen)
        return kept[1]

    def _at(self, chunk: Chunk, place: int) -> Kept:
        block, slot = divmod(place, self.block_size)
        assert chunk.blocks[block] >= 0, "a block that was given up"
        return self.memory[chunk.blocks[block]][slot]

    def copy(self, source: int, target: int) -> None:
        self.memory[target] = list(self.memory[source])


def _last(window: int | None) -> slice:
    """What a token sees of those before it."""
    return slice(None) if window is None else slice(-window + 1 or 10**9, None)


def keep(token: int, seen: Sequence[Kept]) -> Kept:
    """What is kept of a token that sees so much."""
    if token == POISON or any(mixed is None for _, mixed in seen):
        return token, None
    return token, hash((token, tuple(seen)))


def answer(mixed: int | None) -> list[float]:
    """Logits after a token."""
    if mixed is None:
        return [float("nan")] * VOCABULARY
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


def alone(asked: GenerationRequest, window: int | None = None) -> list[int | str]:
    """What a request is given without any engine."""
    kept, given = list[Kept](), list[int | str]()
    for token in asked.tokens:
        kept.append(keep(token, kept[_last(window)]))
    for _ in range(asked.max_tokens):
        chosen = _choose(answer(kept[-1][1]))
        if isinstance(chosen, PelucheError):
            return [*given, "error"]
        kept.append(keep(chosen.token, kept[_last(window)]))
        given.append(chosen.token)
        if chosen.ended:
            return [*given, "stop"]
    return [*given, "length"]


def toy_engine(
    blocks: int, block_size: int, drafter=None, window: int | None = None, **config
) -> Engine:
    runner = TokenRunner(blocks, block_size, window)
    return Engine(runner, Likeliest(), EngineConfig(**config), drafter)


def finish(engine: Engine) -> dict[int, list[int | str]]:
    """What every request is given, with the reason of its end last."""
    found: dict[int, list[int | str]] = {}
    for _ in range(STEPS):
        if engine.idle:
            return found
        collect(engine.step(), found)
    raise AssertionError("there is something to do, and it is not done")


def collect(events: Sequence[Event], found: dict[int, list[int | str]]) -> None:
    for event in events:
        given = found.setdefault(event.key, [])
        assert not given or isinstance(given[-1], int), "nothing comes after the end"
        given.append(event.chosen.token if isinstance(event, Token) else event.reason)


def check(engine: Engine) -> None:
    """What holds after every step."""
    pool, scheduler, window = engine.pool, engine.scheduler, engine.runner.window
    held = [block for one in scheduler.running for block in one.held]
    blocks = range(len(pool.references))
    assert [held.count(block) for block in blocks] == pool.references
    assert sorted({*held, *pool.empty, *pool.unused}) == list(blocks)
    assert len(pool.empty) + len(pool.unused) + len(set(held)) == len(blocks)
    assert set(pool.unused) <= set(pool.places)
    for block, (parent, tokens) in pool.places.items():
        assert pool.children[parent][tokens] == block
        assert len(tokens) == pool.block_size
        # A parent is found as long as its children.
        assert parent == -1 or parent in pool.places
        if window is None:
            assert pool.references[block] == 0 or parent == -1 or pool.references[parent] > 0
    # What is in nobody's use and cannot be found is nothing.
    for block in pool.empty:
        engine.runner.memory[block] = [(NOTHING, NOTHING)] * pool.block_size
    keys = [one.key for one in [*scheduler.running, *scheduler.waiting]]
    assert keys == sorted(keys)
    assert set(keys) == set(engine.left) == engine.sampler.keys
    for one in scheduler.waiting:
        assert not one.blocks
        assert one.computed == 0
    for one in scheduler.running:
        assert one.computed < len(one.tokens) or one.computed == 0
        assert len(one.blocks) * pool.block_size >= one.computed
        assert len(one.held) <= scheduler.most_held
        assert one.blocks[: one.gone] == [GONE] * one.gone
        assert one.gone <= blocks_behind(window, one.computed, pool.block_size)
        start = one.gone * pool.block_size
        memory = [token for block in one.held for token, _ in engine.runner.memory[block]]
        assert memory[: one.computed - start] == one.tokens[start : one.computed]
