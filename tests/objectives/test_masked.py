"""Masked language modelling with next sentence prediction: closed forms, BERT's own loss."""

import math

import pytest
import torch
import transformers

from peluche.data.masking import MaskedBatch
from peluche.models.encoder import EncoderConfig
from peluche.models.encoder_layouts import write_encoder
from peluche.objectives.masked import MaskedConfig

V, LENGTH = 31, 10
SIZES = {"d_model": 16, "layers": 2, "heads": 2, "d_ff": 24, "max_length": 16, "dropout": 0.0}


def model_of():
    torch.manual_seed(0)
    model = EncoderConfig(**SIZES, next_sentence=True).build(V).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def batch_of(rows, *, pairs=True):
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(4, V, (6, LENGTH), generator=generator)
    hidden = torch.rand(6, LENGTH, generator=generator) < 0.3
    hidden[:, 1] = True
    present = torch.arange(LENGTH) < torch.tensor([10, 8, 10, 7, 9, 10])[:, None]
    hidden &= present
    columns = [
        labels.masked_fill(hidden, 3), labels, hidden, present, torch.zeros_like(labels),
        (torch.arange(LENGTH) > 4).long().expand(6, LENGTH) * present,
        torch.tensor([0, 1, 1, 0, 1, 0]),
    ]  # fmt: skip
    return MaskedBatch(*(column[rows] for column in columns[: None if pairs else 5]))


def test_a_head_that_knows_nothing_has_the_loss_of_a_coin():
    model = model_of()
    torch.nn.init.zeros_(model.relation.weight)
    torch.nn.init.zeros_(model.relation.bias)
    losses = MaskedConfig().build()(model, batch_of([0, 1, 2]))
    term = losses.terms["next_sentence"]
    assert term.total.item() == pytest.approx(3 * math.log(2))
    assert term.count == 3
    assert losses.metrics["next_sentence_accuracy"].total == pytest.approx(100)  # the first label


def test_rows_of_packed_texts_have_no_such_term():
    batch = batch_of([0, 1], pairs=False)
    losses = MaskedConfig().build()(model_of(), batch)
    assert set(losses.terms) == set(MaskedConfig().build().counts(batch)) == {"loss"}


def test_micro_batches_add_up():
    gradients = []
    for cuts in ([[0, 1, 2, 3, 4, 5]], [[0], [1, 2], [3, 4, 5]]):
        model, objective = model_of(), MaskedConfig(label_smoothing=0.1).build()
        whole = objective.counts(batch_of([0, 1, 2, 3, 4, 5]))
        for rows in cuts:
            terms = objective(model, batch_of(rows)).terms
            sum(term.total / whole[name] for name, term in terms.items()).backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_it_is_the_loss_of_bert():
    model, batch = model_of(), batch_of([0, 1, 2, 3, 4, 5])
    _, config, tensors = write_encoder(model.config, model.state_dict(), V)
    theirs = transformers.BertForPreTraining.from_pretrained(
        None,
        config=transformers.BertConfig.from_dict(config),
        state_dict=tensors,
        attn_implementation="eager",
    ).eval()
    expected = theirs(
        batch.tokens,
        attention_mask=batch.present.long(),
        token_type_ids=batch.segments,
        labels=batch.labels.masked_fill(~batch.hidden, -100),
        next_sentence_label=batch.relations,
    ).loss
    terms = MaskedConfig().build()(model, batch).terms
    found = sum(term.total / term.count for term in terms.values())
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
