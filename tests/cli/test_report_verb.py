"""`peluche report`: prints where the page is, and nothing else."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from peluche.cli.report import register
from peluche.errors import CheckpointError
from peluche.hub.run import RunDirectory


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    RunDirectory.create(Path("runs/bear"), {"name": "bear"})


def run(*arguments):
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_prints_the_path():
    assert run("bear").stdout == "runs/bear/report/index.html\n"
    assert "bear" in Path("runs/bear/report/index.html").read_text(encoding="utf-8")


def test_output_goes_elsewhere():
    assert run("runs/bear", "--output", "pages/bear.html").stdout == "pages/bear.html\n"
    assert Path("pages/bear.html").exists()
    assert not Path("runs/bear/report/index.html").exists()


def test_no_such_run():
    with pytest.raises(CheckpointError, match="did you mean runs/bear"):
        run("bare")
