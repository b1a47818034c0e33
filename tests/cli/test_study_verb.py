"""`peluche study`: pages to files, paths and numbers to stdout, clear refusals."""

import json

import pytest
import typer
from typer.testing import CliRunner

from peluche.cli.study import register
from peluche.errors import ConfigError

TINY = ["lengths=[2,3]", "width=8", "batch=4", "steps=2", "seeds=1"]


def invoke(*arguments: object):
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    texts = ["study", *(str(item) for item in arguments)]
    return CliRunner().invoke(app, texts, catch_exceptions=False)


def test_memory_prints_its_page_or_its_numbers(tmp_path):
    page = tmp_path / "out" / "index.html"
    assert invoke("memory", *TINY, "--output", page.parent).stdout == f"{page}\n"
    assert page.is_file()
    again = invoke("memory", *TINY, "--output", tmp_path / "again", "--json")
    numbers = json.loads(again.stdout)
    assert numbers == json.loads((page.parent / "study.json").read_text())
    assert numbers["config"]["lengths"] == [2, 3]
    assert "rnn, length 2" in again.stderr


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        invoke("memory", "step=3", "-o", tmp_path)
    with pytest.raises(ConfigError, match="no rung is called 'rnn'"):
        invoke("history", "--rungs", "rnn", "-o", tmp_path)
    with pytest.raises(ConfigError, match=r"unknown key 'model\.heads'"):
        invoke("history", "model.heads=3", "-o", tmp_path)
    assert list(tmp_path.iterdir()) == []
