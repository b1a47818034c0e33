"""The causal objective: closed form, invariance to the split, what is not said."""

import math

import numpy as np
import pytest
import torch

from peluche.data.packing import PackedStream, PackingConfig
from peluche.models.decoder import DecoderConfig
from peluche.models.multi_token import AHEAD, MultiTokenHeads
from peluche.models.recurrent_lm import RecurrentLMConfig
from peluche.objectives.causal import CausalConfig, further_labels

V = 17
MODELS = [
    DecoderConfig(d_model=16, layers=1, heads=2, d_ff=32, dropout=0.0),
    RecurrentLMConfig(embedding=8, hidden=8, dropout=0.0),
]


def batches(rows):
    random = np.random.default_rng(0)
    documents = [[2, *random.integers(4, V, size).tolist(), 3] for size in (3, 11, 1, 7, 20)]
    tokens = np.array([token for document in documents for token in document], dtype=np.uint16)
    return list(PackedStream(tokens, PackingConfig(length=9, tokens=9 * rows)).once())


@pytest.mark.parametrize("config", MODELS, ids=lambda config: config.kind)
def test_an_even_guess_costs_the_logarithm_of_the_vocabulary(config):
    model = config.build(V)
    torch.nn.init.zeros_(model.head.weight)
    (batch,) = batches(100)
    losses = CausalConfig().build()(model, batch)
    term = losses.terms["loss"]
    assert term.count == batch.target_tokens
    assert float(term.total.detach()) / term.count == pytest.approx(math.log(V), abs=1e-5)
    assert losses.metrics["nll"].total == pytest.approx(float(term.total.detach()), rel=1e-5)


@pytest.mark.parametrize("config", MODELS, ids=lambda config: config.kind)
def test_the_gradient_does_not_depend_on_the_split(config):
    torch.manual_seed(0)
    model = config.build(V)
    objective = CausalConfig(label_smoothing=0.1).build()
    gradients = []
    for rows in (100, 2):
        model.zero_grad()
        parts = batches(rows)
        count = sum(objective.counts(batch)["loss"] for batch in parts)
        for batch in parts:
            (objective(model, batch).terms["loss"].total / count).backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


def test_what_follows_an_end_is_not_asked():
    (batch,) = batches(100)
    assert not bool((batch.tokens[batch.valid] == 3).any())
    assert not bool((batch.labels[batch.valid] == 2).any())


def looking_ahead(count, rows=100, **changes):
    torch.manual_seed(0)
    model = DecoderConfig(d_model=16, layers=1, heads=2, d_ff=32, dropout=0.0, **changes).build(V)
    model.ahead = MultiTokenHeads(model.config, count)
    return model, batches(rows), CausalConfig(ahead=count).build()


def test_further_tokens_are_those_of_the_same_document():
    """By loops over documents, for a stream in which every token is another."""
    documents = [[2, 4, 5, 6, 7, 8, 3], [2, 9, 3], [2, 10, 11, 12, 13, 3]]
    tokens = np.array([token for one in documents for token in one], dtype=np.uint16)
    (batch,) = PackedStream(tokens, PackingConfig(length=9, tokens=90)).once()
    for places in (2, 3, 4):
        valid, labels = further_labels(batch, places)
        expected = {}
        for document in documents:
            for at, token in enumerate(document[:-places]):
                expected[token, document[at + 1]] = document[at + places]
        found = {}
        for row in range(len(batch.tokens)):
            for at in np.flatnonzero(valid[row]):
                pair = int(batch.tokens[row, at]), int(batch.labels[row, at])
                found[pair] = int(labels[row, at])
        inside = {
            pair: label
            for pair, label in expected.items()
            if any(at + places <= 9 for at in _columns(batch, *pair))
        }
        assert found == inside
        assert found


def _columns(batch, token, label):
    return torch.nonzero((batch.tokens == token) & (batch.labels == label))[:, 1].tolist()


def test_even_guesses_of_further_tokens_cost_the_logarithm_of_the_vocabulary():
    model, (batch,), objective = looking_ahead(3)
    torch.nn.init.zeros_(model.head.weight)
    terms = objective(model, batch).terms
    assert list(terms) == ["loss", "ahead2", "ahead3", "ahead4"]
    assert {name: term.count for name, term in terms.items()} == objective.counts(batch)
    for term in terms.values():
        assert float(term.total.detach()) / term.count == pytest.approx(math.log(V), abs=1e-5)
    assert terms["loss"].count > terms["ahead2"].count > terms["ahead3"].count


@pytest.mark.parametrize("positions", ["rope", "learned", "alibi"])
def test_heads_leave_the_model_and_other_documents_alone(positions):
    model, (batch,), _ = looking_ahead(2, positions=positions)
    plain = DecoderConfig(
        d_model=16, layers=1, heads=2, d_ff=32, dropout=0.0, positions=positions
    ).build(V)
    names = {name for name in model.state_dict() if name.startswith(AHEAD)}
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if k not in names})
    given = {"document_ids": batch.document_ids}
    hidden = model.hidden(batch.tokens, **given)
    torch.testing.assert_close(plain.hidden(batch.tokens, **given), hidden, atol=0, rtol=0)
    changed = batch.tokens.clone()
    elsewhere = batch.document_ids != batch.document_ids[:, -1:]
    changed[elsewhere] = (changed[elsewhere] + 1) % V
    others = model.hidden(changed, **given)
    for one, other in zip(
        model.hidden_ahead(hidden, **given), model.hidden_ahead(others, **given), strict=True
    ):
        torch.testing.assert_close(one[~elsewhere], other[~elsewhere], atol=0, rtol=0)
        assert not torch.equal(one[elsewhere], other[elsewhere])


def test_the_gradient_of_heads_does_not_depend_on_the_split():
    gradients = []
    for rows in (100, 1):
        model, parts, objective = looking_ahead(2, rows)
        counts = {}
        for batch in parts:
            for name, count in objective.counts(batch).items():
                counts[name] = counts.get(name, 0.0) + count
        for batch in parts:
            terms = objective(model, batch).terms
            sum(
                term.total * (term.weight / counts[name]) for name, term in terms.items()
            ).backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})
    assert any(name.startswith(AHEAD) for name in gradients[0])
    for name, one in gradients[0].items():
        torch.testing.assert_close(one, gradients[1][name], atol=1e-6, rtol=1e-4)


def test_documents_too_short_to_look_ahead_cost_nothing():
    model, _, objective = looking_ahead(2)
    tokens = np.array([2, 5, 3] * 6, dtype=np.uint16)
    (batch,) = PackedStream(tokens, PackingConfig(length=9, tokens=90)).once()
    terms = objective(model, batch).terms
    counts = objective.counts(batch)
    assert float(terms["ahead3"].total.detach()) / counts["ahead3"] == 0
    assert counts["ahead2"] == 6
