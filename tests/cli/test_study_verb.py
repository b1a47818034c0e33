"""`peluche study`: pages to files, paths and numbers to stdout, clear refusals."""

import json
import unittest.mock

import pytest
import typer
from typer.testing import CliRunner

from peluche.cli.study import register
from peluche.errors import ConfigError, NumericsError
from peluche.recipes.recipe import load_recipe
from peluche.studies.trial import run_trial

TINY = ["lengths=[2,3]", "width=8", "batch=4", "steps=2", "seeds=1"]


def invoke(*arguments: object):
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    texts = ["study", *(str(item) for item in arguments)]
    return CliRunner().invoke(app, texts, catch_exceptions=False)


def here(jobs, say):
    for job in jobs:
        run_trial(load_recipe(str(job.recipe)), job.run, say)


def test_memory_prints_its_page_or_its_numbers(tmp_path):
    page = tmp_path / "out" / "index.html"
    assert invoke("memory", *TINY, "--output", page.parent).stdout == f"{page}\n"
    assert page.is_file()
    again = invoke("memory", *TINY, "--output", tmp_path / "again", "--json")
    numbers = json.loads(again.stdout)
    assert numbers == json.loads((page.parent / "study.json").read_text())
    assert numbers["config"]["lengths"] == [2, 3]
    assert "rnn, length 2" in again.stderr


def test_compare_prints_its_table_or_its_numbers(tmp_path):
    (tmp_path / "verse.txt").write_text("the cat sat on the mat\n" * 30, encoding="utf-8")
    source = {"kind": "document", "path": str(tmp_path / "verse.txt")}
    study = {
        "title": "Small",
        "recipe": "shakespeare",
        "changes": [
            f"data={json.dumps({'train': source, 'validation': source})}",
            "model={d_model: 8, layers: 1, heads: 2, d_ff: 8}",
            "training={steps: 1, threads: 1}",
            "evaluation.sample=null",
        ],
        "variants": [{"name": name, "title": name} for name in ("left", "right")],
        "seeds": 3,
    }
    file = tmp_path / "small.yaml"
    file.write_text(json.dumps(study), encoding="utf-8")
    asked = ("compare", file, "--output", tmp_path / "out", "--seeds", 1)
    with unittest.mock.patch("peluche.studies.trial.one_by_one", here):
        table, _, page = invoke(*asked).stdout.rpartition("\n\n")
        assert page == f"{tmp_path / 'out' / 'index.html'}\n"
        assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == ["| left", "| right"]
        numbers = json.loads(invoke(*asked, "--json").stdout)
    assert numbers["study"]["seeds"] == 1
    # Two variants without changes are the same model.
    assert numbers["variants"][1]["over_seeds"] == [0.0, None]

    study["variants"].append({"name": "fast", "title": "fast", "rates": [1e20, 2e20]})
    file.write_text(json.dumps(study), encoding="utf-8")
    (tmp_path / "out" / "index.html").unlink()
    with (
        unittest.mock.patch("peluche.studies.trial.one_by_one", here),
        pytest.raises(NumericsError, match=r"fast without .*: fast-rate1e\+20-seed0, fast-rate2"),
    ):
        invoke(*asked)
    assert "diverged" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("verb", ["memory", "history", "coordinates", "scaling", "attention"])
def test_a_folder_that_cannot_be_made_is_said_first(tmp_path, verb):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be made") as refused:
        invoke(verb, "--output", tmp_path / "file" / "study")
    assert refused.value.where == str(tmp_path / "file")
    with pytest.raises(ConfigError, match="cannot be made"):
        invoke(verb, "--output", tmp_path / ("a" * 300))


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        invoke("memory", "step=3", "-o", tmp_path)
    with pytest.raises(ConfigError, match="no rung is called 'rnn'"):
        invoke("history", "--rungs", "rnn", "-o", tmp_path)
    with pytest.raises(ConfigError, match=r"unknown key 'model\.heads'"):
        invoke("history", "model.heads=3", "-o", tmp_path)
    with pytest.raises(ConfigError, match=r"unknown key 'model\.headz'"):
        invoke("attention", "model.headz=3", "-o", tmp_path)
    assert list(tmp_path.iterdir()) == []
