"""Recipes: the shipped ones are whole, changes apply, and what cannot be is refused clearly."""

import json

import pytest

from peluche.errors import ConfigError
from peluche.recipes.recipe import load_recipe, parse_recipe
from peluche.recipes.shipped import shipped


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_load_and_say_what_they_are(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    assert parse_recipe(json.loads(recipe.model_dump_json())) == recipe


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipes_say_what_they_reach(name):
    assert load_recipe(name).expected


def test_the_promised_recipes_are_shipped():
    promised = {
        "quickstart",
        "multi30k-en-fr",
        "multi30k-en-de",
        "multi30k-de-en",
        "tatoeba-en-fr",
        "sst2",
        "imdb",
        "trec",
        "ag-news",
        "languages",
    }
    assert promised <= set(shipped())


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ("model.layers=6", lambda recipe: recipe.model.layers == 6),
        ("optimizer.lr=1e-3", lambda recipe: recipe.optimizer.lr == 1e-3),
        ("model.dropout=0.25", lambda recipe: recipe.model.dropout == 0.25),
        ("evaluation.metrics=[bleu]", lambda recipe: recipe.evaluation.metrics == ("bleu",)),
        ("training.averaging=null", lambda recipe: recipe.training.averaging is None),
        ("schedule={kind: wsd, decay: 0.3}", lambda recipe: recipe.schedule.decay == 0.3),
        ("name=mine", lambda recipe: recipe.name == "mine"),
    ],
)
def test_changes(change, read):
    assert read(load_recipe("quickstart", [change]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("model.layer=6", "did you mean 'layers'"),
        ("modell.layers=6", "did you mean 'model'"),
        ("model.d_model=130", "d_model 130 is not divisible by heads 4"),
        ("model.kv_heads=3", "nearest that fits: kv_heads"),
        ("data.train.kind=built", "builtin"),
        ("training.epochs=2", "one of steps, epochs or minutes"),
        ("training.steps=null", "one of steps, epochs or minutes"),
        ("training.select=blue", "did you mean 'bleu'"),
        ("evaluation.metrics=[blue]", "did you mean 'bleu'"),
        ("evaluation.tokenize=14a", "evaluation.tokenize: Input should be '13a'"),
        ("training.steps.more=1", "has no keys inside"),
        ("training.steps", "key=value"),
        ("model.layers=[", "not YAML"),
        ("name=\udcff", "not YAML"),
    ],
)
def test_impossible_changes_are_refused(change, said):
    with pytest.raises(ConfigError) as caught:
        load_recipe("quickstart", [change])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("change", "meant"),
    [
        ("steps=4", "'training.steps'?"),
        ("step=4", "'training.steps'?"),
        ("training.lr=0.1", "'optimizer.lr'?"),
        ("layer=2", "'model.layers'?"),
        ("path=a.txt", "'data.train.path' or 'data.validation.path' or 'data.test.path'?"),
    ],
)
def test_a_key_in_the_wrong_place_is_told_its_own(change, meant):
    with pytest.raises(ConfigError) as caught:
        load_recipe("gpt", [change])
    assert caught.value.remedy == f"did you mean {meant}"


def test_a_wrong_change_is_said_to_be_on_the_command_line(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_recipe("gpt", ["model.layers=x"], "on the command line")
    assert caught.value.where == "on the command line"
    file = tmp_path / "own.yaml"
    file.write_text(shipped()["gpt"].read_text().replace("layers: 3", "layers: x"))
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(file), ["model.heads=3"])
    assert caught.value.where == str(file)
    assert load_recipe(str(file), ["model.layers=2"]).model.layers == 2


def test_unknown_recipes_are_refused_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'quickstart'"):
        load_recipe("quickstrat")
    with pytest.raises(ConfigError, match="there is no recipe file"):
        load_recipe(str(tmp_path / "absent.yaml"))
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [", encoding="utf-8")
    with pytest.raises(ConfigError, match="not YAML"):
        load_recipe(str(broken))
    broken.write_text("- a\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="keys and values"):
        load_recipe(str(broken))


def test_another_kind_of_model_starts_from_its_own_defaults():
    changes = ["model.attention=luong", "model.kind=recurrent_seq2seq", "model.hidden=64"]
    recipe = load_recipe("multi30k-de-en", changes)
    assert recipe.model.kind == "recurrent_seq2seq"
    assert (recipe.model.attention, recipe.model.hidden) == ("luong", 64)
    same = load_recipe("multi30k-de-en", ["model.kind=encoder_decoder"])
    assert same == load_recipe("multi30k-de-en")


def test_a_search_that_cannot_translate_is_refused_before_training():
    with pytest.raises(ConfigError, match="contrastive search goes on with texts"):
        load_recipe("quickstart", ["decoding.kind=contrastive"])


def test_an_unknown_kind_of_model_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'recurrent_seq2seq'"):
        load_recipe("quickstart", ["model.kind=recurrent_seq2sec"])
    with pytest.raises(ConfigError, match=r"unknown key 'model\.heads'"):
        load_recipe("quickstart", ["model.kind=recurrent_seq2seq", "model.heads=4"])
