"""The conditional random field against a sum over all sequences of tags."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from peluche.nn.crf import LinearChain

TAGS = 3


def make(seed, lengths, forbidden=None):
    generator = torch.Generator().manual_seed(seed)
    chain = LinearChain(TAGS, forbidden)
    with torch.no_grad():
        chain.transitions.normal_(generator=generator)
    emissions = torch.randn(len(lengths), max(lengths), TAGS, generator=generator)
    valid = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return chain, emissions, valid


def score(chain, emissions, tags):
    """The formula, term by term."""
    moves = chain.transitions
    if chain.forbidden is not None:
        moves = moves.masked_fill(chain.forbidden, -torch.inf)
    total = moves[chain.start, tags[0]] + moves[tags[-1], chain.end]
    for place, tag in enumerate(tags):
        total = total + emissions[place, tag]
        if place:
            total = total + moves[tags[place - 1], tag]
    return total


@given(seed=st.integers(0, 1000), lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_equals_the_sum_over_all_sequences(seed, lengths):
    chain, emissions, valid = make(seed, lengths)
    found = chain.log_partition(emissions, valid)
    decoded = chain.decode(emissions, valid)
    gold = torch.randint(TAGS, valid.shape, generator=torch.Generator().manual_seed(seed))
    losses = chain.loss(emissions, gold, valid)
    for row, length in enumerate(lengths):
        sequences = list(product(range(TAGS), repeat=length))
        scores = torch.stack([score(chain, emissions[row], tags) for tags in sequences])
        torch.testing.assert_close(found[row], scores.logsumexp(0), atol=1e-5, rtol=1e-5)
        assert tuple(decoded[row, :length].tolist()) == sequences[int(scores.argmax())]
        assert (decoded[row, length:] == 0).all()
        right = score(chain, emissions[row], gold[row, :length].tolist())
        torch.testing.assert_close(losses[row], scores.logsumexp(0) - right, atol=1e-5, rtol=1e-5)


def test_gradients_equal_those_of_the_sum_over_all_sequences():
    chain, emissions, valid = make(0, [4])
    gold = torch.tensor([[0, 2, 1, 1]])
    chain.loss(emissions, gold, valid).sum().backward()
    found = chain.transitions.grad.clone()
    chain.transitions.grad = None
    sequences = product(range(TAGS), repeat=4)
    scores = torch.stack([score(chain, emissions[0], tags) for tags in sequences])
    (scores.logsumexp(0) - score(chain, emissions[0], gold[0].tolist())).backward()
    torch.testing.assert_close(found, chain.transitions.grad, atol=1e-6, rtol=1e-5)


def test_probabilities_sum_to_one():
    chain, emissions, valid = make(1, [3])
    sequences = torch.tensor(list(product(range(TAGS), repeat=3)))
    losses = chain.loss(
        emissions.expand(len(sequences), -1, -1), sequences, valid.expand(len(sequences), -1)
    )
    assert losses.neg().exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_padding_changes_nothing():
    chain, emissions, valid = make(2, [5, 2])
    emissions[1, 2:] = 1e4
    alone = chain.log_partition(emissions[1:, :2], valid[1:, :2])
    torch.testing.assert_close(chain.log_partition(emissions, valid)[1:], alone)
    assert torch.equal(
        chain.decode(emissions, valid)[1, :2], chain.decode(emissions[1:, :2], valid[1:, :2])[0]
    )


def test_forbidden_transitions_never_happen():
    forbidden = torch.zeros(TAGS + 2, TAGS + 2, dtype=torch.bool)
    forbidden[0, 1] = forbidden[TAGS, 2] = True
    chain, emissions, valid = make(3, [6] * 20, forbidden)
    decoded = chain.decode(emissions, valid)
    assert not ((decoded[:, :-1] == 0) & (decoded[:, 1:] == 1)).any()
    assert not (decoded[:, 0] == 2).any()
    chain.loss(emissions, decoded, valid).sum().backward()
    assert chain.transitions.grad.isfinite().all()
