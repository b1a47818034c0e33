"""A language model of a mixture of corpora, from shards that other runs read too."""

import gzip
import json

import pytest

from peluche.errors import ConfigError, DataError
from peluche.recipes.recipe import load_recipe
from peluche.recipes.train import resume_run, train_recipe
from peluche.training.events import Hook


@pytest.fixture
def recipe(tmp_path):
    for number in range(3):
        lines = "".join(json.dumps({"text": f"the cat sat on mat {n}"}) + "\n" for n in range(30))
        (tmp_path / f"shard-{number}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "cat.py").write_text("print('the cat')\n" * 20, encoding="utf-8")
    shards = {"kind": "jsonl", "path": str(tmp_path / "shard-*.jsonl.gz")}
    mixture = [
        {"weight": 3, "source": shards},
        {"weight": 1, "source": {"kind": "code", "path": str(tmp_path / "code")}},
    ]
    data = {
        "train": {"kind": "mixture", "sources": mixture},
        "validation": {**shards, "limit": 20},
        "tokens": str(tmp_path / "tokens"),
        "vocabulary_from": 2000,
    }
    return lambda *changes: load_recipe(
        "shakespeare",
        [
            f"data={json.dumps(data)}",
            "model={kind: decoder, d_model: 16, layers: 1, heads: 2, d_ff: 16, dropout: 0.0}",
            "batching={length: 16, tokens: 64}",
            "training={steps: 12, evaluate_every: 6, checkpoint_every: 4, threads: 1}",
            "schedule.warmup=2",
            "evaluation={sample: null}",
            *changes,
        ],
    )


class Stop(Hook):
    """As a power cut would."""

    def step(self, event):
        if event.step == 7:
            raise KeyError("killed")


def test_a_stopped_run_goes_on_in_the_middle_of_an_epoch(recipe, tmp_path):
    said = []
    whole, _ = train_recipe(recipe(), tmp_path / "whole", say=said.append)
    assert sum(line.startswith("tokenised") for line in said) == 3
    said.clear()
    with pytest.raises(KeyError):
        train_recipe(recipe(), tmp_path / "cut", hooks=[Stop()], say=said.append)
    assert not any(line.startswith("tokenised") for line in said)
    assert len(list((tmp_path / "tokens").iterdir())) == 3
    cut, _ = resume_run(tmp_path / "cut")
    expected, found = whole.load_weights(), cut.load_weights()
    assert all((expected[name] == found[name]).all() for name in expected)
    # More rows than twelve batches of four: the run ended within its first epoch.
    (model,) = [event for event in whole.events() if event["event"] == "model"]
    assert model["tokens"] > 12 * 64


def test_bad_sources_stop_before_training(recipe, tmp_path):
    with pytest.raises(DataError, match="no field 'txt'"):
        train_recipe(recipe("data.validation.text=txt"), tmp_path / "run")
    with pytest.raises(ConfigError, match="unknown kind 'parket'"):
        recipe("data.validation={kind: parket, path: a.parquet}")
