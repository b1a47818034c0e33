"""`training.precision` and `training.checkpointing` through a whole recipe."""

import pytest
import torch

from peluche.hub.run import RunDirectory
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.train import resume_run, train_recipe
from peluche.training.events import Hook


class Stop(Hook):
    def start(self, trainer):
        self.trainer = trainer

    def step(self, event):
        if event.step == 7:
            self.trainer.request_stop("the test says so")


@pytest.fixture
def short_values(tiny_values):
    shorter = {"steps": 12, "evaluate_every": 12}
    return tiny_values | {"training": tiny_values["training"] | shorter}


def trained(values, path, **training):
    changed = values | {"training": values["training"] | training}
    return train_recipe(parse_recipe(changed), path)[0]


def losses(run: RunDirectory) -> list[float]:
    return [event["loss"] for event in run.events() if event["event"] == "step"]


def test_bfloat16_is_near_float32_and_resumes_bit_for_bit(short_values, tmp_path):
    exact = trained(short_values, tmp_path / "float32")
    rounded = trained(short_values, tmp_path / "bfloat16", precision="bfloat16")
    assert losses(rounded) == pytest.approx(losses(exact), rel=0.02)
    assert losses(rounded) != losses(exact)
    assert losses(rounded)[-1] < 0.9 * losses(rounded)[0]
    weights = rounded.load_weights()
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}

    values = short_values | {"training": short_values["training"] | {"precision": "bfloat16"}}
    train_recipe(parse_recipe(values), tmp_path / "cut", hooks=[Stop()])
    cut, reason = resume_run(tmp_path / "cut")
    assert reason == "finished"
    assert losses(cut) == losses(rounded)
    resumed = cut.load_weights()
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)


def test_layers_that_are_computed_twice_train_to_the_same_bits(short_values, tmp_path):
    plain = trained(short_values, tmp_path / "plain")
    twice = trained(short_values, tmp_path / "twice", checkpointing=True)
    assert losses(twice) == losses(plain)
    weights, again = plain.load_weights(), twice.load_weights()
    assert weights.keys() == again.keys()
    assert all(torch.equal(weights[name], again[name]) for name in weights)
