"""What configurations say when they refuse."""

from typing import Annotated, Literal

import pytest
from pydantic import Field, model_validator

from peluche.config import Config, parse_as
from peluche.errors import ConfigError


class Lines(Config):
    kind: Literal["lines"] = "lines"
    source: str
    encoding: str = "utf-8"


class Table(Config):
    kind: Literal["table"] = "table"
    path: str
    columns: tuple[int, ...] = (0, 1)


class Model(Config):
    d_model: int = Field(64, gt=0)
    heads: int = 4
    layers: int = 2

    @model_validator(mode="after")
    def _fits(self):
        if self.d_model % self.heads:
            raise ValueError(f"d_model {self.d_model} is not divisible by heads {self.heads}")
        return self


Source = Annotated[Lines | Table, Field(discriminator="kind")]


class Root(Config):
    seed: int = 0
    model: Model = Model()
    train: Source
    extra: tuple[Source, ...] = ()
    best: Model | None = None


GOOD = {"train": {"kind": "lines", "source": "a.en"}}


def refusal(changes, root=Root):
    with pytest.raises(ConfigError) as caught:
        root.parse(GOOD | changes, where="recipe.yaml")
    error = caught.value
    assert error.where == "recipe.yaml"
    return error.what, error.remedy or ""


def test_good_values_build():
    root = Root.parse(GOOD | {"model": {"layers": 3}})
    assert (root.model.layers, root.train.encoding) == (3, "utf-8")


@pytest.mark.parametrize(
    ("changes", "key", "meant", "keys"),
    [
        ({"sede": 1}, "sede", "seed", "best, extra, model, seed, train"),
        ({"model": {"layer": 3}}, "model.layer", "layers", "d_model, heads, layers"),
        ({"best": {"haeds": 3}}, "best.haeds", "heads", "d_model, heads, layers"),
        (
            {"train": {"kind": "lines", "source": "a", "encodign": "x"}},
            "train.encodign",
            "encoding",
            "encoding, kind, source",
        ),
        (
            {"extra": [{"kind": "lines", "source": "a"}, {"kind": "table", "pth": "b"}]},
            "extra.1.pth",
            "path",
            "columns, kind, path",
        ),
    ],
)
def test_unknown_keys_name_the_nearest_of_their_place(changes, key, meant, keys):
    what, remedy = refusal(changes)
    assert f"unknown key '{key}'" in what
    assert f"did you mean '{meant}'? (keys here: {keys})" in remedy


def test_unknown_keys_without_a_likeness_list_what_is_known():
    what, remedy = refusal({"zzz": 1})
    assert what == "unknown key 'zzz'"
    assert remedy == "remove it (keys here: best, extra, model, seed, train)"


def test_wrong_types_show_key_and_value():
    what, remedy = refusal({"model": {"heads": "four"}})
    assert what.startswith("model.heads: ")
    assert "integer" in what
    assert remedy == "'model.heads' is 'four' now"


def test_out_of_range():
    what, remedy = refusal({"model": {"d_model": 0}})
    assert what == "model.d_model: Input should be greater than 0"
    assert remedy == "'model.d_model' is 0 now"


def test_impossible_combinations_keep_their_own_words():
    what, _ = refusal({"model": {"d_model": 10}})
    assert what == "model: d_model 10 is not divisible by heads 4"


def test_missing_keys():
    with pytest.raises(ConfigError) as caught:
        Root.parse({})
    assert caught.value.what == "missing key 'train'"
    assert caught.value.remedy == "give 'train' a value"
    what, _ = refusal({"train": {"kind": "table"}})
    assert what == "missing key 'train.path'"


def test_unknown_and_missing_kinds():
    what, remedy = refusal({"train": {"kind": "tabel", "path": "a"}})
    assert what == "train: unknown kind 'tabel'"
    assert remedy == "did you mean 'table'? (known: lines, table)"
    what, _ = refusal({"train": {"path": "a"}})
    assert what == "missing key 'train.kind'"


def test_all_faults_are_told_at_once():
    what, remedy = refusal({"sede": 1, "model": {"heads": "x"}})
    assert what.count(";") == 1
    assert "sede" in what
    assert "model.heads" in what
    assert "did you mean 'seed'" in remedy


def test_a_list_where_a_mapping_is_due():
    what, _ = refusal({"model": [1, 2]})
    assert what.startswith("model")


def test_unions_parse_alone():
    assert isinstance(parse_as(Source, {"kind": "table", "path": "a"}), Table)
    with pytest.raises(ConfigError, match=r"^unknown kind 'tbl'"):
        parse_as(Source, {"kind": "tbl"})
    with pytest.raises(ConfigError, match=r"^missing key 'kind'"):
        parse_as(Source, {})
    with pytest.raises(ConfigError) as caught:
        parse_as(Source, {"kind": "table", "path": "a", "column": [1]}, where="here")
    assert caught.value.what == "unknown key 'column'"
    assert "did you mean 'columns'" in caught.value.remedy


def test_configs_do_not_change():
    root = Root.parse(GOOD)
    with pytest.raises(Exception, match="frozen"):
        root.seed = 3
