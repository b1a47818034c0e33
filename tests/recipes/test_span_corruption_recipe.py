"""From texts to an encoder-decoder that fills in spans, and from it to tasks; T5's folders too."""

import json
import shutil

import pytest
import torch
import transformers
from typer.testing import CliRunner

import peluche
from peluche.cli.main import app
from peluche.errors import CheckpointError, ConfigError, DataError
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.train import resume_run, train_recipe
from peluche.tasks.load import load_filler, load_summariser, load_translator
from peluche.text.tokenizer import TokenizerConfig
from peluche.training.events import Hook

STORIES = [("king", "crown", "castle"), ("cat", "mouse", "barn"), ("bear", "book", "forest")]
LINES = [f"the {who} has a {what} in the {where}" for who, what, where in STORIES]
SIZES = {"d_model": 32, "layers": 1, "heads": 2, "d_ff": 64, "dropout": 0.0}


class Killed(Exception):
    """As a power cut would."""


class Kill(Hook):
    def __init__(self, step):
        self.at = step

    def step(self, event):
        if event.step == self.at:
            raise Killed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus")
    (path / "text.txt").write_text("\n".join(LINES * 30) + "\n", encoding="utf-8")
    pairs = [f'"{line}","{line.split()[1]} {line.split()[-1]}"' for line in LINES]
    (path / "pairs.csv").write_text("\n".join(pairs * 30) + "\n", encoding="utf-8")
    return path


def training(steps, **changes):
    return {"steps": steps, "evaluate_every": steps, "checkpoint_every": 10, "threads": 1} | changes


def spans(folder, steps=120, **changes):
    text = str(folder / "text.txt")
    values = {
        "name": "tiny-t5",
        "task": "span_corruption",
        "data": {"train": {"path": text}, "validation": {"path": text, "limit": 9}},
        "tokenizer": {"kind": "word"},
        "model": {**SIZES, "positions": "relative"},
        "corruption": {"density": 0.2, "mean_span": 2, "sentinels": 4},
        "batching": {"length": 16, "tokens": 256},
        "evaluation": {"sample": "the king has [MASK] in the castle"},
        "optimizer": {"lr": 5e-3},
        "schedule": {"kind": "cosine", "warmup": 10},
        "training": training(steps),
        **changes,
    }
    return parse_recipe(values)


def headlines(folder, model, steps=40, task="summarisation", **changes):
    source = {"kind": "csv", "path": str(folder / "pairs.csv")}
    values = {
        "name": "tiny-headlines",
        "task": task,
        "data": {"train": source, "validation": {**source, "limit": 6}},
        "tokenizer": {"kind": "word"},
        "model": model,
        "batching": {"tokens": 256},
        "optimizer": {"lr": 5e-3},
        "schedule": {"kind": "cosine", "warmup": 5},
        "training": training(steps),
        **changes,
    }
    return parse_recipe(values)


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    return train_recipe(spans(folder), tmp_path_factory.mktemp("run") / "spans")[0]


def test_it_learns_what_is_cut_out(run):
    found = [event for event in run.events() if event["event"] == "evaluate"]
    assert found[-1]["perplexity"] < 1.6
    assert found[-1]["samples"][0][1] == "a crown"
    filler = load_filler(run.path)
    ((crown,), (empty, barn)) = filler.fill(
        ["the king has [MASK] in the castle", "the [MASK] cat has a mouse in the [MASK]"], 3
    )
    assert crown[0].token == "a crown"
    assert 1 >= crown[0].probability > crown[1].probability > 0
    assert all(0 < one.probability <= 1 for one in (*empty, *barn))
    (score,) = filler.evaluate().scores(bootstrap=50)
    assert parse_recipe(run.config).scored() == {score.metric}
    assert score.score == pytest.approx(found[-1]["perplexity"], rel=1e-3)
    with pytest.raises(DataError, match=r"no \[MASK\]"):
        filler.fill(["king"])
    with pytest.raises(ConfigError, match="needs 5 sentinels"):
        filler.fill(["[MASK] " * 5])


def test_a_killed_run_resumes_bit_for_bit(folder, tmp_path):
    whole, _ = train_recipe(spans(folder, 25), tmp_path / "whole")
    with pytest.raises(Killed):
        train_recipe(spans(folder, 25), tmp_path / "killed", hooks=[Kill(17)])
    resumed, _ = resume_run(tmp_path / "killed")
    for name, tensor in whole.load_weights().items():
        assert torch.equal(tensor, resumed.load_weights()[name]), name


def test_steps_do_not_depend_on_how_they_are_cut(folder, tmp_path):
    """Nine rows of the same length: one batch of nine, or three of three."""
    few = {"path": str(folder / "text.txt"), "limit": 9}
    weights = []
    for parts in (1, 3):
        changes = {
            "data": {"train": few, "validation": few},
            "batching": {"length": 16, "tokens": 99 // parts},
            "training": training(1, accumulate=parts),
            "optimizer": {"kind": "sgd", "lr": 0.1},
        }
        made, _ = train_recipe(spans(folder, **changes), tmp_path / str(parts))
        weights.append(made.load_weights())
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, atol=1e-6, rtol=1e-4)


def test_tasks_start_from_it_and_then_need_it_no_more(folder, run, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(run.path, source)
    recipe = headlines(folder, {"kind": "pretrained", "model": str(source), "dropout": 0.1})
    with pytest.raises(Killed):
        train_recipe(recipe, tmp_path / "run", hooks=[Kill(1)])
    shutil.rmtree(source)
    tuned, _ = resume_run(tmp_path / "run")
    summariser = load_summariser(tuned.path)
    assert summariser.model.config.dropout == 0.1
    assert summariser.tokenizer.tokens() == run.tokenizer().tokens()
    assert summariser.translate(LINES) == ["king castle", "cat barn", "bear forest"]
    scores = summariser.evaluate().scores(bootstrap=0)
    assert [(score.metric, score.score) for score in scores] == [
        ("rouge1", 100),
        ("rouge2", 100),
        ("rougeL", 100),
    ]
    with pytest.raises(ConfigError, match="peluche summarise"):
        load_translator(tuned.path)
    again = headlines(folder, {"kind": "pretrained", "model": str(tuned.path)}, steps=1)
    further, _ = train_recipe(again, tmp_path / "further")
    assert load_summariser(further.path).model.config.dropout == 0.1


def test_it_starts_with_the_weights(folder, run, tmp_path):
    still = {"optimizer": {"kind": "sgd", "lr": 1e-30}}
    model = {"kind": "pretrained", "model": str(run.path)}
    made, _ = train_recipe(headlines(folder, model, 1, **still), tmp_path / "run")
    for name, tensor in run.load_weights().items():
        torch.testing.assert_close(made.load_weights()[name], tensor, atol=1e-20, rtol=0)


def test_a_t5_of_transformers_is_tuned(folder, tmp_path):
    """Its tokenizer has other special tokens: [PAD] begins what the decoder reads."""
    words = TokenizerConfig(kind="word", special=("<pad>", "</s>")).build(LINES)
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=len(words) + 3, d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2,
        pad_token_id=words.id("<pad>"), eos_token_id=words.id("</s>"),
        decoder_start_token_id=words.id("<pad>"), dropout_rate=0.0,
    )  # fmt: skip
    source = tmp_path / "t5"
    transformers.T5ForConditionalGeneration(config).save_pretrained(source)
    words.save(source / "tokenizer.json")
    model = {"kind": "pretrained", "model": str(source)}
    run, _ = train_recipe(headlines(folder, model, 100, task="translation"), tmp_path / "run")
    expected = peluche.load(source).tokenizer.special
    shutil.rmtree(source)
    translator = load_translator(run.path)
    assert translator.tokenizer.special == expected
    assert translator.tokenizer.special.bos == words.id("<pad>")
    assert len(translator.model.head.weight) == len(words) + 3
    assert translator.translate(LINES) == ["king castle", "cat barn", "bear forest"]


def test_what_cannot_be_is_refused(folder, run, tmp_path):
    with pytest.raises(ConfigError, match=r"corruption\.sentinels to 14"):
        spans(folder, batching={"length": 128})
    with pytest.raises(ConfigError, match=r"model\.max_length"):
        spans(folder, model={**SIZES, "positions": "learned", "max_length": 8})
    with pytest.raises(CheckpointError, match="there is no model"):
        train_recipe(headlines(folder, {"kind": "pretrained", "model": "nowhere"}), tmp_path / "a")
    assert not (tmp_path / "a").exists()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises((ConfigError, CheckpointError)):
        train_recipe(
            headlines(folder, {"kind": "pretrained", "model": str(tmp_path / "b")}), tmp_path / "c"
        )


def test_the_command_line(folder, run, tmp_path):
    made, _ = train_recipe(
        headlines(folder, {"kind": "pretrained", "model": str(run.path)}), tmp_path / "run"
    )

    def peluche_(*words, **options):
        done = CliRunner().invoke(app, words, catch_exceptions=False, **options)
        assert done.exit_code == 0, done.output
        return done.stdout.splitlines()

    assert peluche_("summarise", str(made.path), input="\n".join(LINES) + "\n") == [
        "king castle",
        "cat barn",
        "bear forest",
    ]
    (line,) = peluche_("summarise", str(made.path), LINES[0], "--beam", "1", "--json")
    assert json.loads(line)["summary"] == "king castle"
    lines = peluche_("evaluate", str(made.path), "--baselines", "--json", "--bootstrap", "20")
    rouge = [json.loads(line) for line in lines if "first 2 words" in line]
    # One of the two first words is one of the two words of the title.
    assert [test["baseline_score"] for test in rouge] == pytest.approx([50, 0, 50])
