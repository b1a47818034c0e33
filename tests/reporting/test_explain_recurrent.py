"""A recurrent net explained: what is shown is what it computes when nobody looks."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from explain_models import SENTENCE, SHORT, make_tokenizer
from test_explain_browser import open_page  # noqa: F401  (a fixture)
from test_explain_page import HOSTILE, Elements

from peluche.models.recurrent_seq2seq import RecurrentSeq2seqConfig
from peluche.reporting.descriptions import describe_model
from peluche.reporting.explain import explain
from peluche.reporting.page import render_page, write_page
from peluche.reporting.pictures import write_pictures
from peluche.tasks.translate import Translator

VARIANTS = [
    {"cell": "rnn", "attention": "none", "layers": 2, "bidirectional": False},
    {"cell": "gru", "attention": "fixed"},
    {"cell": "lstm", "attention": "luong", "layers": 2},
    {"cell": "gru", "attention": "bahdanau", "decoder_layers": 2},
]


def make(sentence=SENTENCE, **settings):
    tokenizer = make_tokenizer()
    torch.manual_seed(1)
    config = RecurrentSeq2seqConfig.parse({"embedding": 16, "hidden": 12, **settings})
    model = config.build(len(tokenizer)).eval()
    for parameter in model.parameters():
        parameter.data.mul_(2)
    return model, tokenizer, explain(model, tokenizer, sentence, decoding=SHORT)


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda settings: settings["attention"])
def explained(request):
    return make(**request.param)


def test_states_and_probabilities_are_those_of_a_plain_pass(explained):
    model, tokenizer, found = explained
    source = torch.tensor([[token.id for token in found.source.tokens]])
    read = torch.tensor([[token.id for token in found.written]])
    said = [token.id for token in found.target.tokens]
    with torch.no_grad():
        memory = model.encode(source, torch.ones_like(source, dtype=torch.bool))
        probabilities = model.logits(model.hidden(read, condition=memory))[0].softmax(-1)
    top = [layer for layer in found.encoder if layer.layer == model.encoder.layers - 1]
    shown = np.concatenate([layer.signals[0].values for layer in top], 1)
    np.testing.assert_allclose(shown, memory.hidden[0].numpy(), atol=1e-5)
    for step, token, row in zip(found.steps, said, probabilities, strict=True):
        assert step.chosen.id == token
        assert step.chosen.probability == pytest.approx(float(row[token]), rel=1e-3)
    [translation] = Translator(model, tokenizer, SHORT).translate([SENTENCE])
    assert found.target.text == translation


def test_every_layer_is_there_with_its_gates(explained):
    model, _, found = explained
    gates = {
        "rnn": set(),
        "gru": {"reset", "update"},
        "lstm": {"input", "forget", "output"},
    }[model.config.cell]
    assert len(found.encoder) == model.encoder.layers * model.encoder.directions
    assert len(found.decoder) == model.decoder.recurrent.layers
    for layers, tokens in ((found.encoder, found.source.tokens), (found.decoder, found.written)):
        for layer in layers:
            assert layer.signals[0].name == "hidden"
            assert {signal.name for signal in layer.signals if signal.gate} == gates
            for signal in layer.signals:
                assert len(signal.values) == len(tokens) == len(layer.change)
                if signal.gate:
                    assert 0 <= signal.values.min() <= signal.values.max() <= 1
            assert all(0 <= part <= 1 for part in layer.change)


def test_change_is_measured_in_the_direction_of_reading(explained):
    found = explained[2]
    for layer in found.encoder:
        hidden, change = layer.signals[0].values, layer.change
        before = np.zeros_like(hidden[0])
        place, step = (len(hidden) - 1, -1) if layer.direction == "backward" else (0, 1)
        while 0 <= place < len(hidden):
            sizes = np.linalg.norm(hidden[place]) + np.linalg.norm(before)
            expected = np.linalg.norm(hidden[place] - before) / sizes
            assert change[place] == pytest.approx(expected, rel=1e-4)
            before, place = hidden[place], place + step


def test_alignment_is_attention_gathered_into_words(explained):
    model, _, found = explained
    if model.decoder.attention is None:
        assert found.attention is None
        assert found.alignment == ()
        return
    assert found.attention.shape == (len(found.steps), len(found.source.tokens))
    np.testing.assert_allclose(found.attention.sum(1), 1, atol=1e-5)
    [words] = found.alignment
    assert words.shape == (len(found.target.words), len(found.source.words))
    written = {token.word for token in found.target.tokens}
    for word, row in enumerate(words):
        assert row.sum() == pytest.approx(1.0 if word in written else 0.0, abs=1e-5)


def test_page_and_json_hold_the_same_numbers(explained):
    _, _, found = explained
    data, _ = Elements(render_page(found)).scripts
    assert json.loads(data) == json.loads(json.dumps(found.as_json()))


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_pictures_are_drawn(tmp_path, cell):
    attention = {"rnn": "none", "gru": "bahdanau", "lstm": "luong"}[cell]
    model, _, found = make("A bear.", cell=cell, attention=attention, bidirectional=False)
    pictures = write_pictures(found, tmp_path)
    layers = len(found.encoder) + len(found.decoder)
    assert len(pictures) == 2 * (layers + (model.decoder.attention is not None))
    assert all(path.stat().st_size > 1000 for path in pictures)


def test_a_hostile_sentence_is_text():
    hostile, plain = (Elements(render_page(make(text)[2])) for text in (HOSTILE, "A bear."))
    assert len(hostile.scripts) == len(plain.scripts) == 2
    assert {tag for tag, _ in hostile.found} <= {tag for tag, _ in plain.found} | {"em"}


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_moves_and_complains_of_nothing(tmp_path, scheme, request):
    open_ = request.getfixturevalue("open_page")
    path = tmp_path / "page.html"
    found = make(layers=2)[2]
    write_page(found, path)
    page = open_(path.as_uri(), color_scheme=scheme)
    assert page.locator("#view-encoder figure").count() == 4
    page.locator("#view-encoder input").evaluate(
        "input => { input.value = 3; input.dispatchEvent(new Event('input')); }"
    )
    assert page.locator("#view-encoder output").inner_text() == "layer 2, backward"
    cells = page.locator("#view-alignment table.matrix tbody td").count()
    assert cells == len(found.source.words) * len(found.target.words)
    page.locator("#view-step input").evaluate(
        "input => { input.value = 1; input.dispatchEvent(new Event('input')); }"
    )
    assert page.locator("#view-step .bars li.said").count() == 1


def test_a_report_says_in_words_what_the_model_is():
    def said(**settings):
        return describe_model(RecurrentSeq2seqConfig.parse(settings).model_dump())

    assert said(cell="lstm", layers=2, attention="none") == (
        "recurrent sequence to sequence, LSTM, 2 + 2 layers of width 256, without attention"
    )
    assert said(hidden=64).endswith("GRU, 1 + 1 layers of width 64, bahdanau attention")
