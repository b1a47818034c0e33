"""States give back what was written, by position and by row."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from peluche.nn.attention import attention
from peluche.nn.masks import Causal, prepare
from peluche.nn.state import KeyValueState, RecurrentState, State, StaticState

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


def test_they_are_states():
    assert isinstance(StaticState(1, 1, 1, 2, 3), KeyValueState)
    assert isinstance(StaticState(1, 1, 1, 2, 3), State)
    assert isinstance(RecurrentState(hidden=torch.zeros(1, 1, 1)), State)


@given(
    moves=st.lists(
        st.lists(st.integers(0, 2), min_size=3, max_size=3) | st.integers(0, 6), max_size=12
    )
)
@settings(max_examples=100, deadline=None)
def test_a_recurrent_state_goes_back_to_the_rows_that_are_left(moves):
    """Rows are told apart by their history: a list of rows is a `select`, a number a `truncate`."""
    state = RecurrentState(hidden=torch.arange(3.0)[None, :, None], fed=torch.zeros(3, 1))
    rows = [[float(row)] for row in range(3)]
    for move in moves:
        if isinstance(move, int):
            state.truncate(move)
            rows = [row[: move + 1] for row in rows]
        else:
            new = torch.rand(3, 1)
            state.write(torch.tensor([state.length]), hidden=new[None], fed=-new)
            rows = [[*row, float(value)] for row, value in zip(rows, new, strict=True)]
            state.select(torch.tensor(move))
            rows = [rows[number] for number in move]
        assert state.length == len(rows[0]) - 1
        assert state.view()["hidden"][0, :, 0].tolist() == [row[-1] for row in rows]
        if state.length:
            assert state.view()["fed"][:, 0].tolist() == [-row[-1] for row in rows]


def test_a_recurrent_state_takes_one_position_after_another():
    state = RecurrentState(hidden=torch.zeros(1, 2, 1))
    with pytest.raises(ValueError, match="position 0 is next"):
        state.write(torch.tensor([1]), hidden=torch.ones(1, 2, 1))


def test_a_recurrent_state_that_goes_back_one_step_keeps_two():
    state = RecurrentState(hidden=torch.zeros(1, 1))
    state.back = 1
    for position in range(5):
        state.write(torch.tensor([position]), hidden=torch.full((1, 1), position + 1.0))
    assert state.length == 5
    assert len(state.history) == len(state.orders) == 2
    state.truncate(4)
    assert float(state.view()["hidden"]) == 4
    state.write(torch.tensor([4]), hidden=torch.full((1, 1), 9.0))
    assert float(state.view()["hidden"]) == 9
    with pytest.raises(ValueError, match="positions before 4 are kept no longer, not 3"):
        state.truncate(3)
