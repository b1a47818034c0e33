"""States give back what was written, by position, by row and by beam."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from peluche.nn.attention import attention
from peluche.nn.masks import Causal, prepare
from peluche.nn.state import BeamState, State, StaticState

LAYERS, ROWS, HEADS, WIDTH, LENGTH = 2, 3, 2, 4, 9


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    shape = (3, LAYERS, ROWS, HEADS, LENGTH, WIDTH)
    return torch.randn(shape, generator=generator)


def write(state, keys, values, start, end):
    places = torch.arange(start, end)
    for layer in range(LAYERS):
        state.write(
            layer,
            places,
            key=keys[layer, :, :, start:end],
            value=values[layer, :, :, start:end],
        )
    return places


def read(state, layer, query):
    view = state.view(layer)
    return attention(query, view.key, view.value, view.mask)


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=9))
@settings(max_examples=30, deadline=None)
def test_chunks_of_any_size_equal_one_pass(sizes):
    queries, keys, values = torch.randn(
        (3, LAYERS, ROWS, HEADS, LENGTH, WIDTH), generator=torch.Generator().manual_seed(0)
    )
    everything = torch.arange(LENGTH)
    state = StaticState(LAYERS, ROWS, HEADS, WIDTH, LENGTH)
    start = 0
    for size in sizes:
        end = min(start + size, LENGTH)
        if start == end:
            break
        write(state, keys, values, start, end)
        for layer in range(LAYERS):
            expected = attention(
                queries[layer, :, :, start:end],
                keys[layer, :, :, :end],
                values[layer, :, :, :end],
                prepare(Causal(), 1, everything[start:end], everything[:end]),
            )
            found = read(state, layer, queries[layer, :, :, start:end])
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
        start = end


def test_select_keeps_repeats_and_reorders_rows(tensors):
    _, keys, values = tensors
    state = StaticState(LAYERS, ROWS, HEADS, WIDTH, LENGTH)
    write(state, keys, values, 0, 4)
    chosen = torch.tensor([2, 0, 0, 2])
    state.select(chosen)
    write(state, keys[:, chosen], values[:, chosen], 4, 5)
    view = state.view(1)
    assert torch.equal(view.key, keys[1, chosen, :, :5])
    assert torch.equal(view.value, values[1, chosen, :, :5])


def test_truncate_forgets_and_the_place_is_written_again(tensors):
    queries, keys, values = tensors
    state = StaticState(LAYERS, ROWS, HEADS, WIDTH, LENGTH)
    write(state, keys, values, 0, 6)
    state.truncate(2)
    assert state.view(0).key.shape[2] == 2
    state.truncate(8)  # there is nothing to forget beyond the end
    assert state.length == 2
    write(state, queries, values, 2, 4)
    view = state.view(0)
    assert torch.equal(view.key, torch.cat([keys[0, :, :, :2], queries[0, :, :, 2:4]], dim=2))
    assert view.mask.dense.tolist() == [[[[True, True, True, False], [True, True, True, True]]]]


def test_writing_beyond_the_capacity_is_an_error(tensors):
    _, keys, values = tensors
    state = StaticState(LAYERS, ROWS, HEADS, WIDTH, 4)
    with pytest.raises((IndexError, RuntimeError)):
        write(state, keys, values, 0, 5)
    beams = BeamState(LAYERS, 1, ROWS, HEADS, WIDTH, 2)
    write(beams, keys, values, 0, 1)
    write(beams, keys, values, 1, 2)
    with pytest.raises(RuntimeError):
        write(beams, keys, values, 2, 3)


def test_both_are_states():
    assert isinstance(StaticState(1, 1, 1, 2, 3), State)
    assert isinstance(BeamState(1, 1, 1, 1, 2, 3), State)


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_beams_equal_copied_pasts(data):
    """Random selections: a `BeamState` says what a `StaticState` with copied rows says."""
    sentences, beams, steps = 3, 3, 6
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    shared = BeamState(LAYERS, sentences, beams, HEADS, WIDTH, steps)
    copied = StaticState(LAYERS, sentences * beams, HEADS, WIDTH, steps)
    for step in range(steps):
        rows = sentences * beams
        query, key, value = torch.randn(3, LAYERS, rows, HEADS, 1, WIDTH, generator=generator)
        places = torch.tensor([step])
        for layer in range(LAYERS):
            shared.write(layer, places, key=key[layer], value=value[layer])
            copied.write(layer, places, key=key[layer], value=value[layer])
            folded = query[layer].view(sentences, beams, HEADS, WIDTH).transpose(1, 2)
            found = read(shared, layer, folded).transpose(1, 2).reshape(rows, HEADS, 1, WIDTH)
            torch.testing.assert_close(found, read(copied, layer, query[layer]))
        assert torch.equal(shared.slots(step + 1)[:: shared.beams], copied.slots(step + 1))
        parents = torch.randint(0, beams, (sentences, beams), generator=generator)
        shared.select(parents)
        copied.select((parents + torch.arange(sentences)[:, None] * beams).flatten())
        if data.draw(st.booleans()) and sentences > 1:
            kept = torch.randperm(sentences, generator=generator)[: sentences - 1]
            shared.keep(kept)
            copied.select((kept[:, None] * beams + torch.arange(beams)).flatten())
            sentences -= 1


def test_beams_forget_what_was_truncated():
    state = BeamState(1, 1, 2, 1, 2, 4)
    for place in (0, 1):
        state.write(
            0,
            torch.tensor([place]),
            key=torch.full((2, 1, 1, 2), float(place)),
            value=torch.zeros(2, 1, 1, 2),
        )
    state.select(torch.tensor([[1, 1]]))
    state.truncate(1)
    state.write(
        0, torch.tensor([1]), key=torch.full((2, 1, 1, 2), 9.0), value=torch.ones(2, 1, 1, 2)
    )
    view = state.view(0)
    assert view.key[0, 0, :, 0].tolist() == [0, 0, 9, 9]
    past, own = [False, True], [[True, False], [False, True]]
    assert view.mask.dense[0, 0].tolist() == [[*past, *own[0]], [*past, *own[1]]]
