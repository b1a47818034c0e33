"""Every request gets what it gets alone, whatever comes and goes beside it; no block is lost."""

from __future__ import annotations

import ast
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_engines import NOTHING, POISON, alone, check, collect, finish, toy_engine

from peluche.errors import DataError
from peluche.generation.requests import GenerationRequest
from peluche.inference import blocks, scheduler
from peluche.inference.speculation import PromptLookup

INTERLEAVINGS = 1000


def request(tokens, most: int) -> GenerationRequest:
    return GenerationRequest(tokens=tuple(tokens), max_tokens=most)


def some_request(random: random.Random, capacity: int) -> GenerationRequest:
    # Few tokens and few beginnings, so that prompts are often the same in part.
    tokens = [random.randrange(3) for _ in range(random.randint(1, capacity // 2))]
    if random.random() < 0.5:
        tokens = ([0, 1, 2, 0, 1, 2, 2, 1, 0] * 3)[: random.randint(1, capacity // 2)]
    if random.random() < 0.05:
        tokens[random.randrange(len(tokens))] = POISON
    return request(tokens, random.randint(1, capacity + 1 - len(tokens)))


def smallest(window: int, size: int) -> int:
    """Blocks with which a window lets a text be of any length."""
    return 1 - (1 - max(window, size + 1)) // size


@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize("part", range(4))
def test_interleavings_leak_nothing_and_change_nothing(part, windowed):
    done: Counter[str] = Counter()
    for seed in range(part, INTERLEAVINGS, 4):
        chance = random.Random(seed)
        size = chance.choice([1, 2, 3, 4])
        capacity = chance.choice([8, 16, 24])
        running = chance.randint(1, 5)
        window, blocks = None, -(-capacity // size)
        if windowed:
            window = chance.choice([1, 3, 6, 9, 12])
            blocks = smallest(window, size) + chance.choice([0, 1, 2, 3])
        engine = toy_engine(
            blocks,
            size,
            PromptLookup(2, 1) if chance.random() < 0.5 else None,
            window,
            running=running,
            step_tokens=running + chance.randint(0, 12),
            prefix_cache=chance.random() < 0.8,
        )
        assert engine.capacity == (None if windowed else blocks * size)
        asked, found, gone = {}, {}, set()
        for _ in range(chance.randint(3, 14)):
            event = chance.random()
            if event < 0.4:
                one = some_request(chance, capacity)
                asked[engine.add(one)] = one
            elif event < 0.5 and asked:
                key = chance.choice(list(asked))
                gone.add(key)
                engine.cancel(key)
            else:
                collect(engine.step(), found)
            check(engine)
        while not engine.idle:
            collect(engine.step(), found)
            check(engine)
        assert engine.pool.used == 0
        done.update(vars(engine.counters))
        assert set(found) == set(asked)
        for key, one in asked.items():
            if found[key][-1] == "cancelled":
                assert key in gone
                assert found[key][:-1] == alone(one, window)[: len(found[key]) - 1]
            else:
                assert found[key] == alone(one, window)
    assert min(done["preemptions"], done["cached"], done["accepted"]) > 40


def test_random_requests_end_in_every_way():
    ends = {alone(some_request(random.Random(seed), 24))[-1] for seed in range(200)}
    assert ends == {"stop", "length", "error"}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(5, 11)), min_size=2, max_size=8),
    st.integers(1, 4),
    st.sampled_from([None, 1, 6, 9]),
)
def test_nobody_starves(sizes, running, window):
    """Whoever waits when new requests keep coming is done after a bounded number of steps.

    The oldest goes on in every step, so that each may need what it needs alone, and one step more
    in which somebody is interrupted.
    """
    engine = toy_engine(4, 4, window=window, running=running, step_tokens=running + 2)
    first = [
        engine.add(request([number % 3] * length, most))
        for number, (length, most) in enumerate(sizes)
    ]
    done, steps = {}, 0
    while not all(done.get(key, [0])[-1] in ("stop", "length") for key in first):
        engine.add(request([1, 2, 0], 12))
        collect(engine.step(), done)
        check(engine)
        steps += 1
        assert steps <= sum(length + most + 1 for length, most in sizes)


def test_a_text_longer_than_the_memory_holds_a_window_of_it():
    # A window of 6 may begin at the end of a block of 4, and be followed by a chunk of 5.
    window, size, chunk = 6, 4, 5
    most = -(-(size - 1 + window - 1 + chunk) // size)
    engine = toy_engine(most, size, window=window, step_tokens=chunk, running=2)
    asked = request([0, 1, 2, 2, 1] * 60, 40)
    engine.add(asked)
    assert finish(engine)[0] == alone(asked, window)
    assert engine.counters.peak_blocks == most
    assert engine.counters.preemptions == 0
    assert engine.counters.read >= 300


def test_with_one_block_less_chunks_are_smaller_and_then_texts():
    window, size = 6, 4
    for count, chunk, capacity in [(6, 16, None), (4, 8, None), (3, 4, None), (2, None, 8)]:
        engine = toy_engine(count, size, window=window, step_tokens=64, running=1)
        assert engine.capacity == capacity
        asked = request([0, 1, 2] * (2 if capacity else 9), 3)
        engine.add(asked)
        engine.step()
        if chunk is not None:
            assert engine.scheduler.running[0].computed == chunk
        assert finish(engine)[0][-3:] == alone(asked, window)[-3:]
    with pytest.raises(DataError, match="a prompt of 6 tokens and 4 more"):
        engine.add(request([0, 1, 2] * 2, 4))


def test_windows_let_more_requests_run_at_a_time():
    running = {}
    for window in (None, 6):
        engine = toy_engine(16, 4, window=window, running=4, step_tokens=16)
        asked = [request([number, *[1, 2] * 18], 20) for number in range(4)]
        for one in asked:
            engine.add(one)
        running[window], found = 0, {}
        while not engine.idle:
            collect(engine.step(), found)
            check(engine)
            running[window] = max(running[window], len(engine.scheduler.running))
        assert list(found.values()) == [alone(one, window) for one in asked]
    assert running == {None: 1, 6: 4}


def test_what_was_given_up_behind_the_window_is_found_again():
    prompt = [0, 1, 2, 2, 1, 0, 1, 1, 2, 0] * 3
    engine = toy_engine(32, 4, window=6, running=2, step_tokens=64)
    for number, longer in enumerate([prompt, [*prompt, 0, 1]]):
        engine.add(request(longer, 3))
        assert finish(engine)[number] == alone(request(longer, 3), 6)
    assert engine.counters.cached == 4 * 7 + 2
    # While somebody else writes what follows it, too.
    same, found = request([*prompt, 2, 2, 0, 1], 9), {}
    engine.add(same)
    collect(engine.step(), found)
    read = engine.counters.read
    engine.add(same)
    collect(engine.step(), found)
    assert engine.counters.read == read + 1 + 2
    while not engine.idle:
        collect(engine.step(), found)
    assert found[2] == found[3] == alone(same, 6)


def test_a_copied_block_counts_towards_the_window():
    engine = toy_engine(5, 4, window=6, running=1, step_tokens=12)
    begins = [0, 1, 2, 2, 1, 0, 1, 1, 2, 0]
    asked = [request([*begins, 1, 1], 1), request([*begins, *[2, 1, 2] * 5], 3)]
    for number, one in enumerate(asked):
        engine.add(one)
        assert finish(engine)[number] == alone(one, 6)
    assert engine.counters.cached == len(begins)
    assert engine.counters.peak_blocks == 5


def test_a_prompt_that_is_read_behind_a_window_is_waited_for():
    prompt = [0, 1, 2, 2, 1, 0, 1, 1, 2, 0] * 3
    engine = toy_engine(32, 4, window=6, running=4, step_tokens=8)
    for _ in range(3):
        engine.add(request(prompt, 3))
    found = finish(engine)
    assert all(given == alone(request(prompt, 3), 6) for given in found.values())
    assert engine.counters.read == 30 + 2 * 2 + 3 * 2


def test_the_newest_is_interrupted_and_goes_on_later():
    engine = toy_engine(4, 2, running=2, step_tokens=8, prefix_cache=False)
    old, new = engine.add(request([0, 0], 7)), engine.add(request([1, 1], 7))
    engine.step()
    assert [one.key for one in engine.scheduler.running] == [old, new]
    found, interrupted = {}, set()
    while old in engine.left:
        collect(engine.step(), found)
        assert old not in engine.left or engine.scheduler.running[0].key == old
        interrupted |= {one.key for one in engine.scheduler.waiting}
    assert interrupted == {new}
    assert new in engine.left
    finish(engine)
    assert engine.pool.used == 0


def test_long_prompts_are_read_beside_those_that_are_written():
    engine = toy_engine(16, 4, running=2, step_tokens=5)
    short = engine.add(request([0, 1], 20))
    engine.step()
    long = engine.add(request([2, 1] * 12, 1))
    seen = [event.key for _ in range(5) for event in engine.step() if event.key == short]
    assert len(seen) == 5, "the one that is written has a token from every step"
    assert engine.scheduler.running[1].key == long
    assert engine.scheduler.running[1].computed == 5 * 4


def test_prompts_that_begin_alike_are_read_once():
    prompt = [0, 1, 2, 2, 1, 0, 1, 1, 2, 0]  # two blocks and a half
    engine = toy_engine(32, 4, running=8, step_tokens=64)
    for _ in range(4):
        engine.add(request(prompt, 3))
    found = {}
    for _ in range(2):
        collect(engine.step(), found)
    blocks = [one.blocks for one in engine.scheduler.running]
    assert len(blocks) == 4
    assert len({tuple(each[:2]) for each in blocks}) == 1
    assert len({each[2] for each in blocks}) == 4
    assert engine.counters.cached == 3 * 8
    while not engine.idle:
        collect(engine.step(), found)
    assert all(given == alone(request(prompt, 3)) for given in found.values())


def test_a_block_that_goes_on_differently_is_copied():
    engine = toy_engine(16, 4, running=4, step_tokens=16)
    engine.add(request([0, 1, 2, 2, 1, 0, 1, 1], 1))
    finish(engine)
    before = [list(block) for block in engine.runner.memory]
    asked = request([0, 1, 2, 2, 1, 0, 1, 2, 0], 2)  # differs from there in the second block
    engine.add(asked)
    assert finish(engine)[1] == alone(asked)
    assert engine.counters.cached == 4 + 3
    cached = [block for block in before if (NOTHING, NOTHING) not in block]
    assert all(block in engine.runner.memory for block in cached)


def test_the_last_token_of_a_known_prompt_is_read_in_a_copy():
    prompt = request([0, 1, 2, 2, 1, 0, 1, 1], 2)
    engine = toy_engine(16, 4, running=4, step_tokens=16)
    engine.add(prompt)
    finish(engine)
    read = engine.counters.read
    engine.add(prompt)
    assert finish(engine)[1] == alone(prompt)
    assert engine.counters.read - read == 2


def test_a_runner_that_fails_may_be_called_again():
    engine = toy_engine(8, 2, running=3, step_tokens=6)
    asked = [request([0, 1, 2, 0], 4), request([0, 1, 2, 1, 1], 5), request([2], 6)]
    keys = [engine.add(one) for one in asked]
    run, calls, found = engine.runner.run, 0, {}

    def interrupted(chunks):
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise KeyboardInterrupt
        return run(chunks)

    engine.runner.run = interrupted
    while not engine.idle:
        try:
            collect(engine.step(), found)
        except KeyboardInterrupt:
            check(engine)
    assert [found[key] for key in keys] == [alone(one) for one in asked]
    assert engine.pool.used == 0


@pytest.mark.parametrize("window", [None, 3])
def test_what_a_failed_request_read_is_not_found(window):
    engine = toy_engine(8, 2, window=window, running=2, step_tokens=4)
    engine.add(request([0, 1, 2, 0, 1, POISON, 0, 1], 3))
    assert finish(engine)[0] == ["error"]
    assert engine.pool.match([0, 1, 2, 0]) == blocks.Match([])
    assert engine.pool.places == {}
    check(engine)


def test_what_never_fits_is_refused_and_leaves_nothing_behind():
    engine = toy_engine(4, 4)
    with pytest.raises(DataError, match="a prompt of 10 tokens and 8 more"):
        engine.add(request([1] * 10, 8))
    assert engine.idle
    engine.add(request([1] * 10, 7))
    assert finish(engine)[0] == alone(request([1] * 10, 7))


def test_cancelling_twice_or_nothing_is_no_error():
    engine = toy_engine(4, 4)
    key = engine.add(request([1], 5))
    engine.cancel(key)
    engine.cancel(key)
    engine.cancel(99)
    assert finish(engine) == {key: ["cancelled"]}
    engine.cancel(key)
    assert engine.idle


@pytest.mark.parametrize("module", [blocks, scheduler])
def test_no_device_code(module):
    imported = [
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse(Path(module.__file__).read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    ]
    assert not [name for name in imported if "torch" in name or "jaxtyping" in name]
