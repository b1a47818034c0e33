"""The causal objective: closed form, invariance to the split, what is not said."""

import math

import numpy as np
import pytest
import torch

from peluche.data.packing import PackedStream, PackingConfig
from peluche.models.decoder import DecoderConfig
from peluche.models.recurrent_lm import RecurrentLMConfig
from peluche.objectives.causal import CausalConfig

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
