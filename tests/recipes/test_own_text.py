"""A text of one's own in the place of a recipe's: validated on a part of it that is held out."""

import pytest

from peluche.errors import ConfigError
from peluche.recipes.own_text import described
from peluche.recipes.recipe import load_recipe
from peluche.recipes.train import train_recipe


def test_an_own_text_is_validated_on_its_end(tmp_path):
    file = tmp_path / "my.txt"
    file.write_text("".join(f"{number} bears read.\n" for number in range(1000)))
    recipe = load_recipe("gpt", [f"data.train.path={file}"])
    texts = [next(source.read()).text for source in (recipe.data.train, recipe.data.validation)]
    assert "".join(texts) == file.read_text()
    assert len(texts[1]) == pytest.approx(len(texts[0]) / 9, rel=0.01)
    assert described(recipe.data.validation) == f"90 to 100 % of {file}"
    assert recipe.evaluation.sample == "\n"


@pytest.mark.parametrize(
    ("name", "changes", "content"),
    [
        ("my.jsonl", [], '{{"text": "bear {}"}}'),
        ("my.jsonl", ["data.train.text=body"], '{{"body": "bear {}"}}'),
        ("my.csv", ["data.train.text=1"], "{0},bear {0}"),
        ("my.txt", ["data.train.kind=lines"], "bear {}"),
    ],
)
def test_other_kinds_of_files_are_cut_by_texts(tmp_path, name, changes, content):
    file = tmp_path / name
    file.write_text("".join(content.format(number) + "\n" for number in range(300)))
    recipe = load_recipe("gpt", [f"data.train.path={file}", *changes])
    train, validation = (
        {text.text for text in source.read()}
        for source in (recipe.data.train, recipe.data.validation)
    )
    assert train | validation == {f"bear {number}" for number in range(300)}
    assert not train & validation
    assert 10 < len(validation) < 60


def test_spans_of_an_own_text_are_tested_on_it_too():
    data = load_recipe("ag-news-spans", ["data.train.path=my.txt"]).data
    assert {str(one.path) for one in (data.train, data.validation, data.test)} == {"my.txt"}
    assert (data.train.part, data.test.part) == ((0.2, 1.0), (0.1, 0.2))


def test_the_sample_is_one_that_the_task_can_use():
    for name, changes, sample in [
        ("gpt", [], "\n"),
        ("gpt", ["evaluation={sample: Once}"], "Once"),
        ("ag-news-spans", [], None),
    ]:
        recipe = load_recipe(name, ["data.train.path=my.txt", *changes])
        assert recipe.evaluation.sample == sample


def test_what_is_no_source_is_refused():
    for value in ("book.txt", "null", "[a, b]"):
        with pytest.raises(ConfigError, match=r"data\.train"):
            load_recipe("gpt", [f"data.train={value}"])


def test_what_is_said_of_validation_counts():
    changes = ["data.train.path=my.txt", "data.validation.path=other.txt", "evaluation.sample=A"]
    recipe = load_recipe("gpt", changes)
    assert (str(recipe.data.validation.path), recipe.evaluation.sample) == ("other.txt", "A")
    assert load_recipe("gpt", ["data.train.part=[0, 0.4]"]).data.train.part == (0.0, 0.4)


def test_other_texts_are_not_validated_on_the_recipes():
    with pytest.raises(ConfigError, match=r"still tinyshakespeare/input\.txt") as caught:
        load_recipe("gpt", ["data.train={kind: lines, path: my.txt}"])
    assert "set data.validation too" in caught.value.remedy


def test_a_text_in_the_place_of_a_recipe_is_told_the_command(tmp_path):
    file = tmp_path / "my text.txt"
    file.write_text("bears\n")
    with pytest.raises(ConfigError, match="is a file of data, not a recipe") as caught:
        load_recipe(str(file))
    assert f"peluche train gpt data.train.path='{file}'" in caught.value.remedy
    with pytest.raises(ConfigError, match=f"peluche train --resume {tmp_path}"):
        load_recipe(str(tmp_path))


def test_a_text_that_is_too_small_is_said_to_be(tmp_path):
    file = tmp_path / "my.txt"
    small = ["model.d_model=16", "model.layers=1", "model.heads=1", "model.d_ff=16"]
    training = ["training.steps=1", "training.threads=1", "evaluation.sample=null"]

    def said(text, *changes):
        file.write_text(text)
        lines = []
        recipe = load_recipe("gpt", [f"data.train.path={file}", *small, *training, *changes])
        train_recipe(recipe, tmp_path / f"run{len(list(tmp_path.iterdir()))}", say=lines.append)
        return "\n".join(lines)

    tiny = said("A bear reads a book about a bear.\n" * 5)
    assert "vocabulary entries; 512 were asked for" in tiny
    assert "less than one batch of 2,048" in tiny
    assert "less than 10 rows of 128" in tiny
    words = "".join(f"bear {number * 7919 % 9973} reads\n" for number in range(2000))
    enough = said(words, "batching.length=16", "batching.tokens=64")
    assert "asked for" not in enough
    assert "less than" not in enough
