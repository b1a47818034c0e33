"""`peluche explain` of encoder-decoders that say what is missing in a text."""

import json

import numpy as np
import pytest
import torch
from explain_models import TEXTS, make_model
from typer.testing import CliRunner

from peluche.cli.main import app
from peluche.errors import DataError
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.train import train_recipe
from peluche.reporting.explain import explain_task
from peluche.reporting.page import render_page
from peluche.reporting.pictures import draw_pictures
from peluche.reporting.text_reading import View
from peluche.tasks.fill_spans import SpanFiller, said_at
from peluche.text.tokenizer import TokenizerConfig

TEXT = "A [MASK] bear is [MASK] É."
NAMES = tuple(f"<extra_id_{number}>" for number in range(3))


@pytest.fixture(scope="module")
def filler():
    tokenizer = TokenizerConfig(vocab_size=80, special=NAMES).build(TEXTS)
    return SpanFiller(make_model(len(tokenizer), positions="relative"), tokenizer)


@pytest.fixture(scope="module")
def found(filler):
    return explain_task(filler, TEXT, View(beams=3))


def test_each_mask_is_one_token_and_one_word(filler, found):
    tokenizer = filler.tokenizer
    marks = [token for token in found.source.tokens if token.text in NAMES]
    assert [token.text for token in marks] == list(NAMES[:2])
    assert [found.source.words[token.word] for token in marks] == ["[MASK]"] * 2
    words = ["A", "[MASK]", "bear", "is", "[MASK]", "É", ".", "[EOS]"]
    assert list(found.source.words) == words
    parts = tokenizer.encode_batch(["A", " bear is", " É."])
    first, second = (tokenizer.id(name) for name in NAMES[:2])
    ids = [*parts[0], first, *parts[1], second, *parts[2], tokenizer.eos_id]
    assert [token.id for token in found.source.tokens] == ids
    assert [token.text for token in found.source.tokens if token.unknown] == ["É"]


def test_the_answer_is_the_one_that_fill_finds(filler, found):
    tokenizer = filler.tokenizer
    said = [token.id for token in found.target.tokens[:-1]]
    assert said[0] == tokenizer.id(NAMES[0])
    assert found.target.tokens[0].word == 0
    assert found.target.words[0] == NAMES[0]
    assert found.target.text.startswith(NAMES[0])
    assert found.result == "answer"
    sentinels = [tokenizer.id(name) for name in NAMES[:2]]
    spans = [tokenizer.decode(tokens).strip() for tokens in said_at(said, sentinels)]
    options = filler.fill([TEXT], 3)[0]
    assert all(
        span in [one.token for one in those] for span, those in zip(spans, options, strict=True)
    )
    finished = [node for node in found.beam.nodes if node.state == "finished"]
    best = max(finished, key=lambda node: node.score)
    assert best.best
    assert best.log_probability == pytest.approx(found.steps[-1].log_probability, abs=1e-4)


@torch.no_grad()
def test_numbers_are_those_of_the_model(filler, found):
    model, special = filler.model, filler.tokenizer
    source = torch.tensor([[token.id for token in found.source.tokens]])
    said = [token.id for token in found.target.tokens]
    memory = model.encode(source, torch.ones_like(source, dtype=torch.bool))
    np.testing.assert_allclose(found.encoder.output, memory.hidden[0], atol=1e-5)
    hidden = model.hidden(torch.tensor([[special.bos_id, *said[:-1]]]), condition=memory)
    np.testing.assert_allclose(found.decoder.output, hidden[0], atol=1e-5)
    rows = model.logits(hidden)[0].log_softmax(-1)
    total = rows.gather(1, torch.tensor(said)[:, None]).sum()
    assert found.steps[-1].log_probability == pytest.approx(float(total), abs=1e-4)
    for layer in found.decoder.layers:
        for head in layer.cross_attention:
            assert head.weights.shape == (len(said), source.shape[1])
            np.testing.assert_allclose(head.weights.sum(1), 1, atol=1e-5)
    for matrix in found.alignment:
        assert matrix.shape == (len(found.target.words), len(found.source.words))
        np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-5)


def test_the_page_and_the_pictures_speak_of_an_answer(found):
    page = render_page(found)
    assert "queries</b> from the answer" in page
    assert "translation was made" not in page
    names = [name for name, _ in draw_pictures(found)]
    assert {"encoder-layer-1", "decoder-layer-2-self", "decoder-layer-2-cross"} <= set(names)


def test_a_text_without_a_gap_or_too_long_is_refused(filler):
    with pytest.raises(DataError, match=r"there is no \[MASK\]"):
        explain_task(filler, "A bear is reading.")
    with pytest.raises(DataError, match="a page can show 60"):
        explain_task(filler, "A [MASK] " + "bear " * 60)


def test_a_run_is_explained_on_the_command_line(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(TEXTS * 5), encoding="utf-8")
    source = {"path": str(tmp_path / "a.txt")}
    recipe = {
        "name": "spans",
        "task": "span_corruption",
        "data": {"train": source, "validation": source},
        "tokenizer": {"vocab_size": 80},
        "model": {"d_model": 16, "layers": 1, "heads": 2, "d_ff": 24, "positions": "relative"},
        "corruption": {"sentinels": 8},
        "batching": {"length": 24, "tokens": 96},
        "training": {"steps": 2, "threads": 1},
    }
    run, _ = train_recipe(parse_recipe(recipe), tmp_path / "run")
    done = CliRunner().invoke(app, ["explain", str(run.path), "A [MASK] bear", "--beams", "2"])
    assert done.exit_code == 0, done.output
    page = run.report_path / "explain.html"
    assert done.stdout == f"{page}\n"
    assert "&lt;extra_id_0&gt;" in page.read_text(encoding="utf-8")
    done = CliRunner().invoke(app, ["explain", str(run.path), "A [MASK] bear", "--json"])
    record = json.loads(done.stdout)
    assert record["result"] == "answer"
    assert record["beam"]["size"] == 5
    assert record["decoder"]["layers"][0]["cross_attention"]
    refused = CliRunner().invoke(app, ["explain", str(run.path), "A [MASK]", "--layers", "1"])
    assert "--layers has no meaning for span_corruption" in str(refused.exception)
