"""`peluche train` and `config`: what people see, and the exit codes."""

import json
import os
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from peluche.cli.main import app
from peluche.errors import CheckpointError, ConfigError
from peluche.hub.run import RunDirectory

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

SMALL = [
    "training.steps=2",
    "training.evaluate_every=1",
    "training.checkpoint_every=1",
    "training.threads=1",
    "model.d_model=16",
    "model.layers=1",
    "model.heads=2",
    "model.d_ff=32",
    "tokenizer.vocab_size=300",
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


def dialled(folder, command, *options):
    """What `peluche train gpt` says when it sizes a run for a small text; the run's config, log."""
    text = "".join(f"the {word} purrs at the number {n}.\n" for n in range(900) for word in "abc")
    (folder / "a.txt").write_text(text, encoding="utf-8")
    source = {"kind": "document", "path": "a.txt"}
    law = {"irreducible": 1.0, "a": 5.0, "alpha": 0.1, "b": 40.0, "beta": 0.3}
    changes = {
        "data.train": {**source, "part": [0, 0.9]},
        "data.validation": {**source, "part": [0.9, 1]},
        "tokenizer": {"kind": "byte"},
        "batching.length": 16,
        "evaluation.sample": None,
        "training.threads": 1,
        "dial.tokens_per_parameter": 1,
        "dial.width_per_layer": 16,
        "dial.law": {**law, "fitted_on": "a.txt", "vocabulary": 260, "runs": 9},
    }
    given = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    done = command("train", "gpt", *options, *given, "--run", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    run = RunDirectory.open(folder / "run")
    return done, run.config, list(run.events())


@pytest.mark.parametrize(
    "options",
    [
        ("--depth", "2"),
        ("--budget", "2e9flop"),
        ("--budget", "6s"),
        ("--budget", "6s", "--depth=1"),
    ],
    ids=" ".join,
)
def test_a_run_is_sized_by_depth_and_budget(tmp_path, command, options):
    done, config, events = dialled(tmp_path, command, *options)
    plan, model = config["plan"], config["model"]
    asked = options[1] if options[0] == "--budget" else "2 layers"
    assert f"plan for {asked}:" in done.stderr
    assert plan["budget"] == asked
    depth = {"--depth=1": 1, "2": 2}.get(options[-1], model["layers"])
    assert (model["layers"], model["d_model"] % 16) == (depth, 0)
    sizes = f"{depth} layer{'s' * (depth != 1)} of width {model['d_model']}"
    heads = f"{model['heads']} head{'s' * (model['heads'] != 1)}"
    assert f"{sizes}, {heads}: {plan['parameters']:,} parameters" in done.stderr
    assert f"predicted validation loss: {plan['predicted']:.3f} nats a token" in done.stderr
    if asked.endswith("flop"):
        assert plan["flops"] == pytest.approx(2e9, rel=0.1)
    if asked.endswith("layers"):
        assert plan["tokens"] == pytest.approx(plan["parameters"], rel=0.1)
    (trained,) = [event for event in events if event["event"] == "model"]
    assert trained["parameters"] == plan["parameters"]
    last = [event for event in events if event["event"] == "evaluate"][-1]
    assert last["step"] == config["training"]["steps"]
    (forecast,) = [event for event in events if event["event"] == "forecast"]
    assert (forecast["predicted"], forecast["reached"]) == (plan["predicted"], last["nll"])
    assert forecast["error"] == pytest.approx(plan["predicted"] / last["nll"] - 1)
    assert "bits_per_byte" in done.stdout


def test_a_dialled_run_may_be_left_unscored(tmp_path, command):
    done, _, events = dialled(tmp_path, command, "--depth", "1", "--no-test")
    assert not done.stdout
    assert "test" not in [event["event"] for event in events]


def test_a_budget_that_is_none():
    found = CliRunner().invoke(app, ["train", "gpt", "--budget", "soon"])
    assert isinstance(found.exception, ConfigError)
    assert "'soon' is not a budget" in str(found.exception)


def test_a_corrected_command_starts_in_the_folder_of_the_failed_one(tmp_path):
    def train(*arguments):
        return CliRunner().invoke(app, ["train", *arguments])

    text, run = tmp_path / "mu.txt", str(tmp_path / "run")
    command = ["gpt", *SMALL, "--run", run, "--no-test"]
    assert "mu.txt" in str(train(*command, f"data.train.path={text}").exception)
    resumed = train("--resume", run).exception
    assert isinstance(resumed, CheckpointError)
    assert "nothing has been trained here yet" in str(resumed)
    assert f"peluche train RECIPE --run {run}" in str(resumed)
    text.write_text("Un ours en peluche lit. A teddy bear reads.\n\n" * 50)
    done = train(*command, f"data.train.path={text}", f"data.validation.path={text}")
    assert done.exit_code == 0, done.output
    assert RunDirectory.open(tmp_path / "run").states() == [1, 2]
    assert "already holds a run" in str(train(*command).exception)
    assert train("--resume", run, "--no-test").exit_code == 0


def test_an_interrupt_before_the_first_step_says_that_nothing_was_trained(tmp_path, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("peluche.recipes.train.describe_machine", interrupted)
    for _ in range(2):
        done = CliRunner().invoke(app, ["train", "quickstart", "--run", str(tmp_path / "run")])
        assert done.exit_code == 130
        assert "nothing was trained; the same command begins anew" in done.stderr


def test_a_resumed_run_takes_changes_and_no_recipe(tmp_path):
    found = CliRunner().invoke(app, ["train", "gpt", "--resume", str(tmp_path)])
    assert "takes no recipe" in str(found.exception)
    found = CliRunner().invoke(app, ["train", "--resume", str(tmp_path), "training.steps=4"])
    assert isinstance(found.exception, CheckpointError), "the change is taken for what it is"
