"""The loop: sums over the whole step, resumes bit for bit, and survives what goes wrong."""

import copy
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from peluche.data.batching import TranslationBatch
from peluche.errors import CheckpointError, NumericsError
from peluche.hub.run import RunDirectory
from peluche.objectives.base import Losses, Term
from peluche.objectives.translation import TranslationObjective
from peluche.recipes.base import Recipe
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.train import resume_run, train_recipe
from peluche.training.budget import seconds_per_step
from peluche.training.events import EvaluateEvent, Hook, StepEvent
from peluche.training.hooks import KeepBest
from peluche.training.loop import Trainer


class Recorder(Hook):
    """Keeps the events; may stop the training at a step."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.steps: list[StepEvent] = []
        self.stop_at = stop_at

    def start(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def step(self, event: StepEvent) -> None:
        self.steps.append(event)
        if event.step == self.stop_at:
            self.trainer.request_stop("the test says so")


def weights_of(run: RunDirectory, name: str = "model") -> dict[str, torch.Tensor]:
    return run.load_weights(name)


def assert_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]), name


def changed(values: dict, **sections: dict) -> Recipe:
    """The tiny recipe with changes, e.g. training={"steps": 3}."""
    merged = {**values}
    for section, changes in sections.items():
        merged[section] = {**merged.get(section, {}), **changes}
    return parse_recipe(merged)


# --- gradients ------------------------------------------------------------------------------


def split_rows(batch: TranslationBatch, cuts: list[int]) -> list[TranslationBatch]:
    parts = zip(*(tensor.tensor_split(cuts) for tensor in vars_of(batch)), strict=True)
    return [TranslationBatch(*part) for part in parts]


def vars_of(batch: TranslationBatch) -> list[torch.Tensor]:
    names = ("source", "source_valid", "target_in", "target_out", "target_valid")
    return [getattr(batch, name) for name in names]


@pytest.mark.parametrize("cuts", [[1], [2, 3], [1, 2, 3, 4]])
def test_gradient_does_not_depend_on_micro_batches(tiny_values, tmp_path, cuts):
    recipe = changed(
        tiny_values, model={"dropout": 0.0}, training={"clip": None}, batching={"tokens": 48}
    )
    recorder = Recorder()
    train_recipe(recipe, tmp_path / "run", hooks=[recorder])
    trainer = recorder.trainer
    batch = next(trainer.stream.batches())[0]

    def gradients(parts: list[TranslationBatch]) -> tuple[dict, float, list[torch.Tensor]]:
        totals, norm = trainer.gradient.of(parts)
        return totals.means(), norm, [p.grad.clone() for p in trainer.model.parameters()]

    values, norm, whole = gradients([batch])
    split_values, split_norm, split = gradients(split_rows(batch, cuts))
    assert split_values == pytest.approx(values, rel=1e-5)
    assert split_norm == pytest.approx(norm, rel=1e-5)
    for left, right in zip(whole, split, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-7)


# --- resuming -------------------------------------------------------------------------------


@pytest.mark.parametrize("averaging", [None, {"kind": "ema"}, {"kind": "last", "count": 3}])
def test_stopping_and_resuming_changes_nothing(tiny_values, tmp_path, averaging):
    recipe = changed(
        tiny_values, training={"averaging": averaging, "select": "loss", "accumulate": 2}
    )
    whole, _ = train_recipe(recipe, tmp_path / "whole")
    train_recipe(recipe, tmp_path / "cut", hooks=[Recorder(stop_at=7)])
    for stop_at in (13, None):
        cut, reason = resume_run(tmp_path / "cut", hooks=[Recorder(stop_at=stop_at)])
    assert reason == "finished"
    assert_same(weights_of(whole), weights_of(cut))
    assert_same(weights_of(whole, "best"), weights_of(cut, "best"))
    logged = [
        [(e["step"], e["loss"]) for e in run.events() if e["event"] == "step"]
        for run in (whole, cut)
    ]
    assert logged[0] == logged[1]


TRAIN = """
import sys, yaml
from pathlib import Path
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.train import resume_run, train_recipe
from peluche.training.budget import seconds_per_step
from peluche.training.events import Hook

class Slow(Hook):
    def step(self, event):
        print(event.step, flush=True)

folder = Path(sys.argv[1])
if folder.exists():
    resume_run(folder, hooks=[Slow()])
else:
    train_recipe(parse_recipe(yaml.safe_load(sys.argv[2])), folder, hooks=[Slow()])
"""


def start_training(folder: Path, recipe: Recipe) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, str(folder), json.dumps(recipe.model_dump(mode="json"))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_step(process: subprocess.Popen[str], step: int) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= step:
            return
    raise AssertionError(process.stderr.read() if process.stderr else "ended early")


@pytest.mark.slow
def test_kill_at_a_random_moment_then_resume_is_bit_identical(tiny_values, tmp_path):
    recipe = changed(tiny_values, training={"steps": 60, "checkpoint_every": 4})
    whole, _ = train_recipe(recipe, tmp_path / "whole")
    chance = random.Random(os.getpid())
    for _ in range(2):
        process = start_training(tmp_path / "killed", recipe)
        wait_for_step(process, chance.randint(2, 12))
        time.sleep(chance.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    killed, reason = resume_run(tmp_path / "killed")
    assert reason == "finished"
    assert_same(weights_of(whole), weights_of(killed))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_names_itself(tiny_values, tmp_path, number):
    recipe = changed(tiny_values, training={"steps": 5000})
    process = start_training(tmp_path / "run", recipe)
    wait_for_step(process, 7)
    process.send_signal(number)
    process.communicate(timeout=60)
    run = RunDirectory.open(tmp_path / "run")
    stops = [event for event in run.events() if event["event"] == "stop"]
    assert stops[-1]["reason"] == f"stopped by {number.name}"
    assert run.states()[-1] >= 7
    assert "model" in run.weights()


def test_resume_falls_back_to_the_previous_state(tiny_recipe, tmp_path):
    whole, _ = train_recipe(tiny_recipe, tmp_path / "whole")
    train_recipe(tiny_recipe, tmp_path / "run", hooks=[Recorder(stop_at=12)])
    run = RunDirectory.open(tmp_path / "run")
    newest = run.path / "state" / f"step-{run.states()[-1]:08d}" / "model.safetensors"
    data = bytearray(newest.read_bytes())
    data[-3] ^= 0x10
    newest.write_bytes(data)
    said: list[str] = []
    run, _ = resume_run(run.path, say=said.append)
    assert any("model.safetensors" in message for message in said)
    assert_same(weights_of(whole), weights_of(run))


def test_resume_without_an_intact_state_is_refused(tiny_recipe, tmp_path):
    run, _ = train_recipe(tiny_recipe, tmp_path / "run")
    for file in run.path.glob("state/*/model.safetensors"):
        file.write_bytes(b"")
    with pytest.raises(CheckpointError, match="no training state is intact"):
        resume_run(run.path)


# --- numbers that are not -------------------------------------------------------------------


class Broken(TranslationObjective):
    """Gives NaN at some calls."""

    def __init__(self, config, calls) -> None:
        super().__init__(config)
        self.calls, self.count = calls, 0

    def __call__(self, model, batch) -> Losses:
        losses = super().__call__(model, batch)
        if model.training:
            self.count += 1
            if self.count in self.calls:
                term = losses.terms["loss"]
                return Losses({"loss": Term(term.total * float("nan"), term.count)})
        return losses


def train_broken(monkeypatch, recipe: Recipe, folder: Path, calls, said: list[str]):
    monkeypatch.setattr(
        "peluche.objectives.translation.TranslationConfig.build",
        lambda config: Broken(config, calls),
    )
    recorder = Recorder()
    run, reason = train_recipe(recipe, folder, hooks=[recorder], say=said.append)
    return run, reason, recorder


def test_nan_rolls_back_with_half_the_rate_and_goes_on(monkeypatch, tiny_recipe, tmp_path):
    said: list[str] = []
    run, reason, recorder = train_broken(monkeypatch, tiny_recipe, tmp_path / "run", {8}, said)
    assert reason == "finished"
    steps = [event.step for event in recorder.steps]
    assert steps == [*range(1, 8), *range(6, 21)]
    before, after = (event for event in recorder.steps if event.step == 6)
    assert after.rate == pytest.approx(before.rate / 2)
    assert any("step 8" in message and "0.5 ×" in message for message in said)
    logged = [event["step"] for event in run.events() if event["event"] == "step"]
    assert logged == list(range(1, 21))


def test_nan_that_stays_ends_with_a_clear_error(monkeypatch, tiny_recipe, tmp_path):
    with pytest.raises(NumericsError, match="after 3 roll-backs") as caught:
        train_broken(monkeypatch, tiny_recipe, tmp_path / "run", range(8, 10**6), [])
    assert "optimizer.lr" in str(caught.value)
    assert RunDirectory.open(tmp_path / "run").states()[-1] == 5


# --- length, selection, evaluation ----------------------------------------------------------


class Fixed:
    """An evaluator with given losses."""

    def __init__(self, losses: list[float]) -> None:
        self.losses = list(losses)

    def __call__(self, step: int) -> EvaluateEvent:
        return EvaluateEvent(step, {"loss": self.losses.pop(0)})


def test_patience_stops_and_the_best_weights_are_kept(tiny_values, tmp_path, monkeypatch):
    recipe = changed(
        tiny_values,
        training={"evaluate_every": 2, "select": "loss", "patience": 2},
    )
    seen: dict[int, torch.Tensor] = {}

    class Watch(Hook):
        def start(self, trainer):
            trainer.evaluator = Fixed([3.0, 1.0, 2.0, 1.5, 0.1])
            self.trainer = trainer

        def evaluate(self, event):
            seen[event.step] = self.trainer.model.head.weight.detach().clone()

    run, reason = train_recipe(recipe, tmp_path / "run", hooks=[Watch()])
    assert "no better loss than 1" in reason
    assert max(seen) == 8
    assert torch.equal(run.load_weights("best")["head.weight"], seen[4])
    assert torch.equal(run.load_weights()["head.weight"], seen[4])


def test_evaluating_does_not_change_training(tiny_values, tmp_path):
    often, _ = train_recipe(
        changed(tiny_values, training={"evaluate_every": 1}), tmp_path / "often"
    )
    rarely, _ = train_recipe(
        changed(tiny_values, training={"evaluate_every": 20}), tmp_path / "rarely"
    )
    assert_same(weights_of(often), weights_of(rarely))


def test_epochs_and_minutes_become_steps(tiny_values, tmp_path):
    recorder = Recorder()
    recipe = changed(tiny_values, training={"steps": None, "epochs": 2, "accumulate": 1})
    train_recipe(recipe, tmp_path / "epochs", hooks=[recorder])
    assert recorder.trainer.total == 2 * recorder.trainer.stream.batches_per_epoch()
    recipe = changed(tiny_values, training={"steps": None, "minutes": 0.004})
    recorder = Recorder()
    _, reason = train_recipe(recipe, tmp_path / "minutes", hooks=[recorder])
    assert reason == "finished"
    assert recorder.steps[-1].step == recorder.trainer.total
    assert recorder.steps[0].rate > 0


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_timing_a_step_changes_nothing(tiny_values, tmp_path, kind):
    recorder = Recorder(stop_at=5)
    recipe = changed(tiny_values, optimizer={"kind": kind})
    train_recipe(recipe, tmp_path / "run", hooks=[recorder])
    trainer = recorder.trainer
    random_state = torch.get_rng_state()
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    optimizer = copy.deepcopy(trainer.optimizer.state_dict())
    assert optimizer["state"]
    assert seconds_per_step(trainer) > 0
    assert torch.equal(torch.get_rng_state(), random_state)
    assert_same(before, dict(trainer.model.state_dict()))
    after = trainer.optimizer.state_dict()
    torch.testing.assert_close(after["state"], optimizer["state"], rtol=0, atol=0)
    assert after["param_groups"] == optimizer["param_groups"]


def test_streaming_windows_train_like_any_corpus(tiny_values, tmp_path):
    recipe = changed(tiny_values, batching={"window": 7})
    whole, _ = train_recipe(recipe, tmp_path / "whole")
    train_recipe(recipe, tmp_path / "cut", hooks=[Recorder(stop_at=8)])
    cut, _ = resume_run(tmp_path / "cut")
    assert_same(weights_of(whole), weights_of(cut))


def test_a_tiny_corpus_is_learnt_by_heart(tiny_values, tmp_path):
    recorder = Recorder()
    recipe = changed(
        tiny_values,
        training={"steps": 200},
        optimizer={"lr": 1e-2},
        model={"dropout": 0.0, "d_model": 32},
    )
    run, _ = train_recipe(recipe, tmp_path / "run", hooks=[recorder])
    evaluations = [event for event in run.events() if event["event"] == "evaluate"]
    assert evaluations[-1]["exact_match"] == 100.0
    assert evaluations[-1]["samples"] == [["the bear reads", "le ours lit"]]


def test_best_metric_that_rises_is_kept_by_its_highest(tmp_path, tiny_recipe):
    hook = KeepBest(RunDirectory.create(tmp_path / "run", {}), "bleu", None)

    class Plain:
        model = torch.nn.Linear(1, 1)

    hook.start(Plain())  # type: ignore[arg-type]
    for step, value in enumerate([10.0, 30.0, 20.0], start=1):
        hook.evaluate(EvaluateEvent(step, {"bleu": value}))
    assert (hook.best, hook.best_step, hook.waited) == (30.0, 2, 1)
