"""`peluche train` and `config`: what people see, and the exit codes."""

import json
import os
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from peluche.cli.main import app
from peluche.errors import ConfigError

TINY = [
    "training.steps=6",
    "training.evaluate_every=3",
    "model.d_model=16",
    "model.layers=1",
    "model.heads=2",
    "model.d_ff=32",
    "data.train.size=200",
    "data.validation.size=10",
    "data.test.size=10",
    "tokenizer.vocab_size=300",
    "decoding.max_length=20",
    "training.threads=1",
]


def peluche(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "peluche", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.slow
def test_train_scores_and_refuses_to_overwrite(command, tmp_path):
    done = command("train", "quickstart", *TINY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "exact_match" in done.stdout
    assert "step 6/6" in done.stderr
    assert "Traceback" not in done.stderr
    done = command("train", "quickstart", *TINY, cwd=tmp_path)
    assert done.returncode == 4
    assert "runs/quickstart" in done.stderr
    assert "--resume" in done.stderr


@pytest.mark.slow
def test_a_signal_exits_with_the_resume_command_which_works(tmp_path):
    process = peluche(tmp_path, "train", "quickstart", *TINY, "training.steps=100000")
    for line in process.stderr:
        if line.startswith("step 3/"):
            break
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert code == 130
    assert "peluche train --resume runs/quickstart" in err
    process = peluche(tmp_path, "train", "--resume", "runs/quickstart")
    for line in process.stderr:
        if line.startswith("step "):
            break
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 143


def test_wrong_input_ends_clearly(command, tmp_path):
    done = command("train", "quickstart", "model.heads=3", cwd=tmp_path)
    assert done.returncode == 2
    assert "not divisible" in done.stderr
    assert "Traceback" not in done.stderr
    done = command("train", "--resume", "runs/none", cwd=tmp_path)
    assert done.returncode == 4
    assert "Traceback" not in done.stderr


def test_schema_is_json_schema(command):
    done = command("config", "schema")
    assert done.returncode == 0
    recipes = json.loads(done.stdout)["$defs"]
    for task in ("TranslationRecipe", "ClassificationRecipe"):
        assert {"data", "model", "training"} <= set(recipes[task]["properties"])


def test_a_resumed_run_takes_no_budget():
    found = CliRunner().invoke(app, ["train", "--resume", "runs/a", "--budget", "1min"])
    assert isinstance(found.exception, ConfigError)
    assert "leave --budget and --depth out" in str(found.exception)


def test_a_budget_that_is_none():
    found = CliRunner().invoke(app, ["train", "gpt", "--budget", "soon"])
    assert isinstance(found.exception, ConfigError)
    assert "'soon' is not a budget" in str(found.exception)
