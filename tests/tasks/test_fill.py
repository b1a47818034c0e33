"""From texts to an encoder that says what is hidden, through the command line."""

import json

import pytest
import torch

import peluche
from peluche.errors import ConfigError, DataError
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.train import resume_run, train_recipe
from peluche.tasks.load import load_completer
from peluche.training.events import Hook


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "text.txt"
    lines = [
        f"the {who} has a {what} in the {where}"
        for who, what, where in (
            ("king", "crown", "castle"), ("cat", "mouse", "barn"), ("bear", "book", "forest"),
        )
    ]  # fmt: skip
    path.write_text("\n".join(lines * 60) + "\n", encoding="utf-8")
    return path


def recipe(corpus, **changes):
    values = {
        "name": "tiny-bert",
        "task": "masked_language_modelling",
        "data": {"train": {"path": str(corpus)}, "validation": {"path": str(corpus), "limit": 30}},
        "tokenizer": {"kind": "wordpiece", "vocab_size": 120, "special": ["[MASK]"]},
        "model": {"d_model": 32, "layers": 2, "heads": 2, "d_ff": 64, "dropout": 0.0,
                  "positions": "rope"},
        "batching": {"length": 32, "tokens": 256},
        "masking": {"share": 0.2},
        "evaluation": {"sample": "the king has a [MASK] in the castle"},
        "optimizer": {"lr": 5e-3},
        "schedule": {"kind": "cosine", "warmup": 10},
        "training": {
            "steps": 400, "evaluate_every": 100, "checkpoint_every": 20, "threads": 1,
        },
        **changes,
    }  # fmt: skip
    return parse_recipe(values)


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    return train_recipe(recipe(corpus), tmp_path_factory.mktemp("run") / "run")[0]


def test_it_learns_what_is_hidden(run):
    found = [event for event in run.events() if event["event"] == "evaluate"]
    assert found[-1]["accuracy"] > 80
    assert found[-1]["perplexity"] < 2 < found[0]["perplexity"]
    assert found[-1]["samples"][0][1].split(",")[0].endswith("crown")
    filler = peluche.load(run.path)
    ((crown,), (cat, barn)) = filler.fill(
        ["the king has a [MASK] in the castle", "the [MASK] has a mouse in the [MASK]"], 3
    )
    assert "crown" in crown[0].token
    assert "cat" in cat[0].token
    assert "barn" in barn[0].token
    assert crown[0].probability > 0.5 > crown[1].probability
    (score,) = filler.evaluate().scores(bootstrap=200)
    assert score.score == pytest.approx(found[-1]["perplexity"], rel=0.2)
    assert parse_recipe(run.config).scored() == {score.metric}


def test_a_killed_run_resumes_bit_for_bit(corpus, tmp_path):
    whole, _ = train_recipe(
        recipe(corpus, training={"steps": 50, "checkpoint_every": 20, "threads": 1}),
        tmp_path / "whole",
    )

    class Killed(Exception):
        """As a power cut would."""

    class Kill(Hook):
        def step(self, event):
            if event.step == 33:
                raise Killed

    with pytest.raises(Killed):
        train_recipe(
            recipe(corpus, training={"steps": 50, "checkpoint_every": 20, "threads": 1}),
            tmp_path / "killed",
            hooks=[Kill()],
        )
    resumed, _ = resume_run(tmp_path / "killed")
    for name, tensor in whole.load_weights().items():
        assert torch.equal(tensor, resumed.load_weights()[name]), name


def test_the_command_line(run, command):
    done = command("fill", run.path, "the bear has a [MASK] in the forest", "--json")
    assert done.returncode == 0, done.stderr
    (mask,) = json.loads(done.stdout)["masks"]
    assert "book" in mask[0]["token"]
    assert command("fill", run.path, input="a [MASK]\n").returncode == 0
    assert "[MASK]" in command("fill", run.path, "no mask here").stderr


def test_what_follows_is_learnt_beside(corpus, tmp_path):
    model = {"d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "next_sentence": True}
    training = {"steps": 6, "evaluate_every": 3, "log_every": 1, "threads": 1}
    training["select"] = "next_sentence_accuracy"
    config = recipe(corpus, model=model, training=training)
    run, _ = train_recipe(config, tmp_path / "run")
    steps = [event for event in run.events() if event["event"] == "step"]
    assert all({"loss", "next_sentence"} <= step.keys() for step in steps)
    evaluations = [event for event in run.events() if event["event"] == "evaluate"]
    assert all(0 <= one["next_sentence_accuracy"] <= 100 for one in evaluations)
    start = config.model.build(len(run.tokenizer())).state_dict()
    learnt = run.load_weights()
    assert not torch.equal(learnt["segments.weight"][1], start["segments.weight"][1])
    assert learnt["relation.bias"].abs().sum() > 0
    filler = peluche.load(run.path)
    assert len(filler.fill(["the king has a [MASK]"])[0]) == 1
    with pytest.raises(ConfigError, match=r"batching\.length 5 or more"):
        recipe(corpus, model=model, batching={"length": 4})
    one = tmp_path / "one.txt"
    one.write_text("the king has a crown\n", encoding="utf-8")
    data = {"train": {"path": str(one)}, "validation": {"path": str(one)}}
    with pytest.raises(DataError, match="no two texts"):
        train_recipe(recipe(corpus, model=model, data=data, training=training), tmp_path / "one")


def test_what_does_not_go_together_is_refused(corpus, run):
    with pytest.raises(ConfigError, match=r"tokenizer\.special"):
        recipe(corpus, tokenizer={"kind": "wordpiece"})
    with pytest.raises(ConfigError, match="rows of 900"):
        recipe(corpus, batching={"length": 900}, model={})
    with pytest.raises(ConfigError, match=r"model\.masked"):
        recipe(corpus, model={"masked": False})
    with pytest.raises(ConfigError, match="peluche fill"):
        load_completer(run.path)
    with pytest.raises(DataError, match=r"no \[MASK\]"):
        peluche.load(run.path).fill(["king"])
