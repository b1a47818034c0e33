"""What a run may be changed in when it goes on, and what it may not."""

import pytest

from peluche.errors import ConfigError, PelucheError
from peluche.hub.run import RunDirectory
from peluche.recipes.recipe import load_recipe
from peluche.recipes.resuming import changed_settings, recipe_to_resume
from peluche.recipes.train import resume_run, train_recipe


@pytest.fixture
def run(tmp_path):
    recipe = load_recipe("gpt", ["training.steps=6"])
    return RunDirectory.create(tmp_path / "run", recipe.model_dump(mode="json"))


def test_settings_that_weights_do_not_follow_from_can_be_changed(run):
    changes = ["training.threads=1", "training.checkpoint_every=7", "evaluation.sample=The"]
    recipe = recipe_to_resume(run, changes)
    assert (recipe.training.threads, recipe.training.checkpoint_every) == (1, 7)
    assert recipe.evaluation.sample == "The"
    assert changed_settings(run, recipe) == {
        "evaluation.sample": "The",
        "training.checkpoint_every": 7,
        "training.threads": 1,
    }
    assert recipe_to_resume(run) == load_recipe("gpt", ["training.steps=6"])
    assert recipe_to_resume(run, ["training.steps=6"]) == recipe_to_resume(run)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("training.steps=9", "training.steps is 6 and was to be 9"),
        ("model.layers=2", "model.layers is 3 and was to be 2"),
        ("data.train.path=my.txt", "data.train.path is tinyshakespeare/input.txt and was to be my"),
        ("steps=9", "unknown key 'steps'"),
    ],
)
def test_others_are_refused_with_both_values(run, change, said):
    with pytest.raises(ConfigError) as caught:
        recipe_to_resume(run, [change])
    assert said in str(caught.value)


def test_what_is_changed_stands_in_the_log_once_it_holds(tmp_path):
    (tmp_path / "a.txt").write_text("the bear sleeps\n" * 60)
    changes = [
        f"data.train.path={tmp_path / 'a.txt'}",
        "training.steps=2",
        "training.threads=1",
        "tokenizer.vocab_size=300",
        "model.layers=1",
        "batching={length: 16, tokens: 64}",
    ]
    run, _ = train_recipe(load_recipe("gpt", changes), tmp_path / "run")
    with run.lock(), pytest.raises(PelucheError):
        resume_run(run.path, changes=["training.keep=7"])

    def settings():
        return [event for event in run.events() if event["event"] == "settings"]

    assert not settings()
    resume_run(run.path, changes=["training.keep=7"])
    assert [event["training.keep"] for event in settings()] == [7]
