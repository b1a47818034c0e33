"""Masks against loops over (batch, query, key), alone and combined."""

import itertools
import operator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from peluche.nn.masks import (
    Block,
    Causal,
    Documents,
    Padding,
    Prefix,
    Staircase,
    Window,
    from_dense,
    prepare,
)

BATCH, LENGTH = 3, 7
VALID = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0], [0, 1, 0, 1, 1, 0, 1]]).bool()
PREFIXES = torch.tensor([0, 2, 7])
DOCUMENTS = torch.tensor([[0, 0, 0, 1, 1, 2, 2], [5, 5, 5, 5, 5, 5, 5], [0, 1, 2, 3, 4, 5, 0]])

PREDICATES = {
    "causal": (Causal(), lambda b, q, k: k <= q),
    "window": (Window(2), lambda b, q, k: abs(q - k) < 2),
    "padding": (Padding(VALID), lambda b, q, k: bool(VALID[b, k])),
    "prefix": (Prefix(PREFIXES), lambda b, q, k: k < int(PREFIXES[b])),
    "documents": (Documents(DOCUMENTS), lambda b, q, k: DOCUMENTS[b, q] == DOCUMENTS[b, k]),
    "block": (Block(3), lambda b, q, k: q // 3 == k // 3),
    "staircase": (Staircase(3), lambda b, q, k: k // 3 <= q // 3),
}


def by_loops(rule, query, key):
    rows = [[[bool(rule(b, q, k)) for k in key] for q in query] for b in range(BATCH)]
    return torch.tensor(rows)


def by_mask(mask, query, key):
    """What `prepare` says is visible, with its two shorthands written out."""
    prepared = prepare(mask, BATCH, torch.tensor(query), torch.tensor(key))
    if prepared is None:
        return torch.ones(BATCH, len(query), len(key), dtype=torch.bool)
    dense = prepared.dense
    if dense is None:
        dense = torch.ones(len(query), len(key), dtype=torch.bool).tril()[None, None]
    if prepared.empty is not None:
        dense = dense & ~prepared.empty
    return dense[:, 0].expand(BATCH, -1, -1)


@pytest.mark.parametrize("name", PREDICATES)
def test_predicate_is_its_rule(name):
    mask, rule = PREDICATES[name]
    places = list(range(LENGTH))
    assert torch.equal(by_mask(mask, places, places), by_loops(rule, places, places))


@given(
    names=st.lists(st.sampled_from(sorted(PREDICATES)), min_size=3, max_size=3),
    operators=st.lists(st.sampled_from([operator.and_, operator.or_]), min_size=2, max_size=2),
    query=st.lists(st.integers(0, LENGTH - 1), min_size=1, max_size=5),
    key=st.lists(st.integers(0, LENGTH - 1), min_size=1, max_size=5),
)
@settings(max_examples=60, deadline=None)
def test_combinations_at_any_positions(names, operators, query, key):
    (first, one), (second, two), (third, three) = (PREDICATES[name] for name in names)
    inner, outer = operators
    mask = outer(inner(first, second), third)

    def rule(b, q, k):
        return outer(inner(bool(one(b, q, k)), bool(two(b, q, k))), bool(three(b, q, k)))

    assert torch.equal(by_mask(mask, query, key), by_loops(rule, query, key))


def test_prefix_lm_sees_the_whole_prefix_and_the_past():
    mask = Causal() | Prefix(torch.tensor([3]))
    seen = prepare(mask, 1, torch.arange(5), torch.arange(5)).dense[0, 0]
    expected = [[k <= q or k < 3 for k in range(5)] for q in range(5)]
    assert seen.tolist() == expected


def test_plain_causal_is_left_to_the_kernel():
    places = torch.arange(6)
    assert prepare(Causal(), 2, places, places).causal


@pytest.mark.parametrize(
    ("query", "key"), [([3, 4], [0, 1]), ([0, 1], [3, 4]), ([0, 0, 1], [0, 0, 1]), ([1, 0], [1, 0])]
)
def test_causal_means_positions_not_order(query, key):
    prepared = prepare(Causal(), 1, torch.tensor(query), torch.tensor(key))
    assert not prepared.causal
    seen = prepared.dense if prepared.empty is None else prepared.dense & ~prepared.empty
    assert seen[0, 0].tolist() == [[k <= q for k in key] for q in query]


def test_padding_without_padding_costs_nothing():
    assert prepare(Padding(torch.ones(2, 4).bool()), 2, torch.arange(4), torch.arange(4)) is None
    assert prepare(None, 2, torch.arange(4), torch.arange(4)) is None


def test_rows_that_see_nothing_are_told_apart():
    visible = torch.tensor([[[[True, False], [False, False]]]])
    prepared = from_dense(visible)
    assert prepared.empty.tolist() == [[[[False], [True]]]]
    assert prepared.dense.tolist() == [[[[True, False], [True, True]]]]
    assert from_dense(torch.ones(1, 1, 2, 2).bool()).empty is None


def test_masks_materialise_per_row_only_where_rows_differ():
    places = torch.arange(4)
    assert prepare(Window(2), 5, places, places).dense.shape == (1, 1, 4, 4)
    documents = Documents(torch.tensor([[0, 0, 1, 1]] * 5))
    assert prepare(documents & Causal(), 5, places, places).dense.shape == (5, 1, 4, 4)


def test_every_pair_of_predicates_commutes():
    places = list(range(LENGTH))
    for (one, _), (two, _) in itertools.combinations(PREDICATES.values(), 2):
        for combine in (operator.and_, operator.or_):
            left, right = combine(one, two), combine(two, one)
            assert torch.equal(by_mask(left, places, places), by_mask(right, places, places))
