"""Blocks are found by all that they hold, outlive what follows them, and are never lost."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from peluche.inference.blocks import ROOT, BlockPool, Match


def store(pool: BlockPool, tokens: list[int]) -> list[int]:
    """Take blocks for full parts of a sequence, as a sequence that reads it all does."""
    blocks: list[int] = []
    for start in range(0, len(tokens), pool.block_size):
        block = pool.take()
        assert block is not None
        parent = blocks[-1] if blocks else ROOT
        blocks.append(pool.register(block, parent, tokens[start : start + pool.block_size]))
    return blocks


def test_a_beginning_is_found_after_it_was_released():
    pool = BlockPool(8, 2)
    blocks = store(pool, [1, 2, 3, 4])
    pool.release(blocks)
    assert pool.used == 0
    assert pool.match([1, 2, 3, 4, 5]) == Match(blocks)
    assert pool.match([1, 2, 9, 9]) == Match(blocks[:1])
    assert pool.match([3, 4]) == Match([]), "the same tokens elsewhere are another block"


def test_a_block_that_begins_alike_is_a_partial_match():
    pool = BlockPool(8, 4)
    blocks = store(pool, [1, 2, 3, 4, 5, 6, 7, 8])
    assert pool.match([1, 2, 3, 4, 5, 6, 9]) == Match(blocks[:1], blocks[1], 2)
    assert pool.match([1, 2, 3]) == Match([], blocks[0], 3)
    assert pool.match([1, 2, 3, 4, 5, 9]) == Match(blocks[:1]), "one token is sooner read"


def test_what_is_held_twice_becomes_one():
    pool = BlockPool(8, 2)
    first, second = store(pool, [1, 2, 3, 4]), store(pool, [1, 2, 3, 4])
    assert first == second
    assert pool.used == 2
    pool.release(first)
    assert pool.used == 2
    pool.release(second)
    assert pool.used == 0


def test_the_least_recently_used_goes_first_and_children_before_parents():
    pool = BlockPool(4, 1)
    old, new = store(pool, [1, 2]), store(pool, [3, 4])
    pool.release(old)
    pool.release(new)
    pool.share(old[0])  # used again, and so newer than the others
    pool.release(old[:1])
    assert [pool.take() for _ in range(3)] == [old[1], new[1], new[0]]
    assert pool.match([1, 2]) == Match(old[:1])
    assert pool.take() == old[0]
    assert pool.take() is None


def test_behind_a_window_the_last_unused_block_goes_first():
    pool = BlockPool(4, 1)
    blocks = store(pool, [1, 2, 3, 4])
    pool.release(blocks[:1])  # first, as a sequence gives up what is behind its window
    pool.release(blocks[1:2])
    assert pool.take() == blocks[1]
    assert pool.match([1, 2, 3, 4]) == Match(blocks[:1]), "what follows is not found without it"
    assert pool.register(blocks[3], blocks[2], [4]) == blocks[3]
    assert pool.match([1, 2, 3, 4]) == Match(blocks[:1])
    pool.release(blocks[2:])
    assert pool.empty == [blocks[3], blocks[2]]


def test_what_is_not_to_be_kept_takes_its_followers_along():
    pool = BlockPool(4, 1)
    blocks = store(pool, [1, 2, 3])
    pool.release(blocks[2:])  # cached, in nobody's use
    pool.release(blocks[:2])
    pool.forget_unused([1, 2, 3])
    assert pool.match([1, 2, 3]) == Match([])
    assert len(pool.empty) == 4


def test_long_sequences_are_forgotten():
    pool = BlockPool(3000, 1)
    blocks = store(pool, list(range(3000)))
    pool.release(blocks[1:])
    pool.release(blocks[:1])
    pool.forget(blocks[0])
    assert len(pool.empty) == 3000
    assert pool.places == pool.children == {}


def test_without_a_cache_nothing_is_found():
    pool = BlockPool(4, 1, cache=False)
    pool.release(store(pool, [1, 2]))
    assert pool.match([1, 2]) == Match([])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 1), max_size=6)), max_size=25))
def test_a_match_holds_what_was_asked_for(actions):
    """Sequences come and go; each block's content is kept beside the pool."""
    pool, holds, running = BlockPool(10, 2), {}, []
    for leave, tokens in actions:
        if leave and running:
            pool.release(running.pop(0))
            continue
        match = pool.match(tokens)
        found = [token for block in match.blocks for token in holds[block]]
        assert found == tokens[: len(found)]
        if match.partial is not None:
            start = len(found)
            assert holds[match.partial][: match.tokens] == tokens[start : start + match.tokens]
        for block in match.blocks:
            pool.share(block)
        blocks = list(match.blocks)
        for start in range(len(found), len(tokens) - 1, 2):
            block = pool.take()
            if block is None:
                break
            holds[block] = tokens[start : start + 2]
            blocks.append(pool.register(block, blocks[-1] if blocks else ROOT, holds[block]))
            assert holds[blocks[-1]] == tokens[start : start + 2]
        running.append(blocks)
        held = [block for each in running for block in each]
        assert [held.count(block) for block in range(10)] == pool.references
        assert pool.used == len(set(held))
    for blocks in running:
        pool.release(blocks)
    assert pool.free == 10
