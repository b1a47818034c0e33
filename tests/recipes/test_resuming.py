"""What a run may be changed in when it goes on, and what it may not."""

import pytest

from peluche.errors import ConfigError
from peluche.hub.run import RunDirectory
from peluche.recipes.recipe import load_recipe
from peluche.recipes.resuming import recipe_to_resume


@pytest.fixture
def run(tmp_path):
    recipe = load_recipe("gpt", ["training.steps=6"])
    return RunDirectory.create(tmp_path / "run", recipe.model_dump(mode="json"))


def test_settings_that_weights_do_not_follow_from_can_be_changed(run):
    changes = ["training.threads=1", "training.checkpoint_every=7", "evaluation.sample=The"]
    recipe = recipe_to_resume(run, changes)
    assert (recipe.training.threads, recipe.training.checkpoint_every) == (1, 7)
    assert recipe.evaluation.sample == "The"
    (event,) = [event for event in run.events() if event["event"] == "settings"]
    assert event["training.threads"] == 1
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
    assert not [event for event in run.events() if event["event"] == "settings"]
