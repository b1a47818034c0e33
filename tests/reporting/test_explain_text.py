"""A text through language models and encoders: every number against another way to it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from explain_models import READERS, TEXT, make_reader
from torch.nn import functional as F

from peluche.errors import CheckpointError, ConfigError, DataError
from peluche.models.encoder import Encoder
from peluche.models.recurrent_lm import RecurrentLM
from peluche.models.state_space_lm import StateSpaceLM
from peluche.models.text_embedder import TextEmbedderConfig
from peluche.nn.attention import attention
from peluche.nn.experts import Experts
from peluche.nn.masks import causal, prepare
from peluche.nn.trace import tracing
from peluche.reporting import explain_text as module
from peluche.reporting import text_reading
from peluche.reporting.explain import explain_task
from peluche.reporting.explain_text import explain_text
from peluche.reporting.figures import save_figures
from peluche.reporting.pictures import draw_pictures
from peluche.reporting.text_reading import View
from peluche.tasks.embed import Embedder
from peluche.tasks.perplexity import window_likelihood

CLOSE = {"atol": 1e-5, "rtol": 1e-5}
SPEAKERS = [name for name in READERS if name != "encoder"]


@pytest.fixture(scope="module", params=READERS)
def explained(request):
    task = make_reader(request.param)
    return task, explain_text(task, TEXT)


def ids_of(found) -> torch.Tensor:
    return torch.tensor([[token.id for token in found.tokens]])


@torch.no_grad()
def test_the_last_layer_of_the_lens_is_the_logits(explained):
    task, found = explained
    last = found.lens[-1]
    assert last.layer == task.model.config.layers
    with tracing():
        logits = task.model.logits(task.model.hidden(ids_of(found)))[0]
    best = logits.topk(3)
    np.testing.assert_array_equal(last.best, best.indices)
    exactly = (best.values - logits.logsumexp(-1, keepdim=True)).exp()
    np.testing.assert_array_equal(last.probabilities, exactly)
    fused = task.model.logits(task.model.hidden(ids_of(found)))[0].softmax(-1)
    np.testing.assert_allclose(last.probabilities, fused.gather(1, best.indices), **CLOSE)


@pytest.mark.parametrize("name", ["decoder", "latent", "encoder"])
def test_weights_are_those_of_the_fused_kernel(name):
    task = make_reader(name)
    found = explain_text(task, TEXT)
    length, config = len(found.tokens), task.model.config
    places = torch.arange(length)
    with torch.no_grad(), tracing() as trace:
        task.model.hidden(ids_of(found))
    assert len(found.attention) == config.layers
    for layer, window in zip(found.attention, config.windows(config.layers), strict=True):
        side = f"{config.kind}.{layer.layer}.self_attention"
        query, key = trace[f"{side}.query"], trace[f"{side}.key"]
        mask = None if name == "encoder" else prepare(causal(window), 1, places, places)
        # Values that are rows of the identity come out as the weights.
        values = torch.eye(length).expand(1, key.shape[1], -1, -1)
        fused = attention(query, key, values, mask)[0]
        shown = torch.tensor(np.stack([head.weights for head in layer.heads]))
        assert [head.head for head in layer.heads] == list(range(config.heads))
        torch.testing.assert_close(shown, fused, **CLOSE)


@pytest.mark.parametrize("name", SPEAKERS)
def test_mean_surprisal_is_what_perplexity_says(name):
    task = make_reader(name)
    found = explain_text(task, TEXT)
    expected = window_likelihood(task.model, task.tokenizer, TEXT, 64)
    assert found.score is not None
    assert tuple(found.score) == pytest.approx(tuple(expected), rel=1e-5)
    scored = [value for value in found.surprisals if value is not None]
    assert len(found.surprisals) == len(found.tokens) == len(scored) + 1
    assert math.fsum(scored) / len(scored) == pytest.approx(expected.nll, abs=1e-5)
    assert found.surprisals[0] is None


@torch.no_grad()
def test_predictions_are_the_models_own(explained):
    task, found = explained
    ids = ids_of(found)
    whole = task.model.logits(task.model.hidden(ids))[0].log_softmax(-1)
    for place, one in enumerate(found.predictions):
        if found.ahead:
            assert one is not None
            log = whole[place]
            there = None if place == len(found.tokens) - 1 else int(ids[0, place + 1])
        else:
            if one is None:
                assert int(ids[0, place]) in task.tokenizer.special_ids
                continue
            hidden = ids.clone()
            hidden[0, place] = task.tokenizer.mask_id
            log = task.model.logits(task.model.hidden(hidden))[0, place].log_softmax(-1)
            there = int(ids[0, place])
        for candidate in one.candidates:
            assert candidate.probability == pytest.approx(float(log[candidate.id].exp()), abs=1e-5)
            assert candidate.id not in task.tokenizer.special.never
        if there is None:
            assert one.actual is None
            continue
        assert one.actual.id == there
        assert one.surprisal == pytest.approx(-float(log[there]), abs=1e-4)
        assert one.rank == 1 + sum(float(value) > float(log[there]) + 1e-6 for value in log)


def test_a_mask_is_filled_in_as_fill_does_it():
    task = make_reader("encoder")
    text = "The cute [MASK] bear is [MASK]."
    found = explain_text(task, text)
    assert [token.id for token in found.tokens] == task._encode(text)
    masks = [n for n, token in enumerate(found.tokens) if token.text == "[MASK]"]
    for place, filled in zip(masks, task.fill([text], 3)[0], strict=True):
        one = found.predictions[place]
        assert one.actual is None
        assert one.surprisal is None
        assert [candidate.token for candidate in one.candidates[:3]] == [c.token for c in filled]
    assert found.text == text


@pytest.mark.parametrize("name", ["experts", "full-experts"])
@torch.no_grad()
def test_experts_are_those_that_the_router_chose(name):
    task = make_reader(name)
    read = {}
    layers = [module for module in task.model.modules() if isinstance(module, Experts)]
    hooks = [
        layer.register_forward_pre_hook(lambda module, inputs: read.update({module: inputs[0]}))
        for layer in layers
    ]
    found = explain_text(task, TEXT)
    for hook in hooks:
        hook.remove()
    assert [one.layer for one in found.routing] == list(range(len(layers)))
    left_out = 0
    for shown, layer in zip(found.routing, layers, strict=True):
        rows = read[layer].flatten(0, 1)
        most = math.inf
        if layer.config.capacity is not None:
            share = len(rows) * layer.config.active / layer.config.count
            most = math.ceil(layer.config.capacity * share)
        scores = (rows @ layer.router.weight.t()).softmax(-1)
        taken = [0] * layer.config.count
        for token, row in enumerate(scores.tolist()):
            best = sorted(range(len(row)), key=lambda n: -row[n])[: layer.config.active]
            total = sum(row[n] for n in best)
            for expert in range(len(row)):
                gate = 0.0
                if expert in best and taken[expert] < most:
                    gate = row[expert] / total
                    taken[expert] += 1
                elif expert in best:
                    left_out += 1
                assert shown.gates[token, expert] == pytest.approx(gate, abs=1e-5)
        assert shown.load == pytest.approx([n / sum(taken) for n in taken])
    assert (left_out > 0) == (name == "full-experts")


@torch.no_grad()
def test_without_attention_the_memory_is_shown():
    task = make_reader("space")
    assert isinstance(task.model, StateSpaceLM)
    read = {}
    for block in task.model.blocks:
        block.mixer.register_forward_pre_hook(lambda m, inputs: read.update({m: inputs[0]}))
    found = explain_text(task, TEXT)
    assert found.attention == ()
    for layer, block in zip(found.carried, task.model.blocks, strict=True):
        step = F.softplus(block.mixer.step(read[block.mixer][0]) + block.mixer.step_bias)
        [signal] = layer.signals
        assert signal.gate
        np.testing.assert_allclose(
            signal.values, torch.exp(-step * block.mixer.decay_log.exp()), **CLOSE
        )
    task = make_reader("recurrent")
    assert isinstance(task.model, RecurrentLM)
    found = explain_text(task, TEXT)
    embedded = task.model.embedding(ids_of(found)) * task.model.config.embedding**0.5
    last, _ = task.model.recurrent(embedded)
    np.testing.assert_allclose(found.carried[-1].signals[0].values, last[0], **CLOSE)
    gates = {signal.name for signal in found.carried[0].signals if signal.gate}
    assert gates == {"reset", "update"}
    with pytest.raises(ConfigError, match="no attention, so no heads"):
        explain_text(task, TEXT, View(heads=[1]))


def test_layers_and_heads_can_be_chosen():
    task = make_reader("decoder")
    whole, part = explain_text(task, TEXT), explain_text(task, TEXT, View([2], [1, 4]))
    assert whole.notes == ()
    [layer] = part.attention
    assert (layer.layer, [head.head for head in layer.heads]) == (1, [0, 3])
    np.testing.assert_array_equal(layer.heads[1].weights, whole.attention[1].heads[3].weights)
    assert [one.layer for one in part.lens] == [2]
    assert "layers 2, 2 of 4 heads" in part.notes[0]
    for view, says in ((View(layers=[3]), "no layer 3"), (View(heads=[0, 5]), "no head 0, 5")):
        with pytest.raises(ConfigError, match=says):
            explain_text(task, TEXT, view)


def test_of_a_long_text_some_layers_and_heads_are_shown(monkeypatch):
    length = len(explain_text(make_reader("decoder"), TEXT).tokens)
    monkeypatch.setattr(text_reading, "MOST_WEIGHTS", 3 * length * (length + 1) // 2)
    monkeypatch.setattr(module, "MOST_GUESSES", 2 * length)
    found = explain_text(make_reader("decoder"), TEXT)
    assert [(one.layer, len(one.heads)) for one in found.attention] == [(0, 1), (1, 1)]
    assert [one.layer for one in found.lens] == [0, 2]
    assert "choose others with --layers and --heads" in found.notes[0]


@pytest.mark.parametrize(("name", "longest"), [("post-norm", 64), ("encoder", 64), ("space", 70)])
def test_a_text_over_the_context_is_cut_and_it_is_said(name, longest):
    task = make_reader(name)
    text = TEXT * 9
    found = explain_text(task, text, View(tokens=70))
    assert len(found.tokens) == longest
    whole = len(task.tokenizer.encode(text)) + (2 if name == "encoder" else 0)
    assert found.left_out == whole - longest
    assert f"{found.left_out:,} more are left out" in found.notes[0]
    assert text.startswith(found.text)
    assert task.tokenizer.encode(found.text) == [
        token.id for token in found.tokens if token.id not in (2, 3)
    ]


@pytest.mark.parametrize("text", ["", "  \n "])
def test_an_empty_text_is_refused(text):
    with pytest.raises(DataError, match="the text to explain is empty"):
        explain_text(make_reader("decoder"), text)


def test_damaged_weights_are_refused():
    task = make_reader.__wrapped__("decoder")
    task.model.decoder.blocks[1].feed_forward.down.weight.data[0, 0] = torch.nan
    with pytest.raises(CheckpointError, match="weights are damaged"):
        explain_text(task, TEXT)


def test_one_token_has_candidates_and_no_score():
    found = explain_text(make_reader("decoder"), TEXT, View(tokens=1))
    assert found.score is None
    assert found.surprisals == (None,)
    assert len(found.predictions[0].candidates) == 8
    json.dumps(found.as_json())


def test_an_encoder_that_says_nothing_shows_attention_alone():
    filler = make_reader("encoder")
    assert isinstance(filler.model, Encoder)
    silent = filler.model.config.model_copy(update={"masked": False})
    encoder = {"kind": "pretrained", "model": "x", "architecture": silent, "vocabulary": 80}
    model = TextEmbedderConfig(encoder=encoder).build(80)
    found = explain_task(Embedder(model, filler.tokenizer), TEXT)
    assert (found.predictions, found.lens, found.score) == ((), (), None)
    assert len(found.attention) == 2


def test_encoders_of_other_kinds_are_refused():
    model = TextEmbedderConfig().build(80)
    with pytest.raises(ConfigError, match="transformer"):
        explain_task(Embedder(model, make_reader("encoder").tokenizer), TEXT)


def test_other_tasks_are_refused():
    with pytest.raises(ConfigError, match="no page of a object"):
        explain_task(object(), TEXT)


def test_pictures_are_drawn_of_what_there_is(tmp_path):
    expected = {
        "experts": ["surprisal", "attention-layer-1", "attention-layer-2", "lens", "experts"],
        "space": ["surprisal", "memory-layer-1", "memory-layer-2", "lens"],
    }
    for name, names in expected.items():
        found = explain_text(make_reader(name), "A $cute$ 熊.")
        figures = dict(draw_pictures(found))
        assert list(figures) == names
        [image] = figures["lens"].axes[0].images
        np.testing.assert_array_equal(
            image.get_array(), np.stack([layer.probabilities[:, 0] for layer in found.lens])
        )
    # A dollar sign is no formula, and a character without a glyph no warning.
    written = save_figures([("experts", dict(draw_pictures(found))["surprisal"])], tmp_path)
    assert [path.suffix for path in written] == [".png", ".svg"]


def test_a_picture_of_experts_shows_their_gates():
    found = explain_text(make_reader("experts"), TEXT)
    figure = dict(draw_pictures(found))["experts"]
    panels = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    for panel, layer in zip(panels, found.routing, strict=True):
        np.testing.assert_array_equal(panel, layer.gates.T)
