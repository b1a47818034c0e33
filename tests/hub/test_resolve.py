"""The one resolver: what may be given for a model, and what is said otherwise."""

from pathlib import Path

import pytest

from peluche.errors import CheckpointError
from peluche.hub.resolve import resolve
from peluche.hub.run import RunDirectory


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two runs in ./runs and a folder `empty`."""
    monkeypatch.chdir(tmp_path)
    for name in ("quickstart", "multi30k"):
        RunDirectory.create(Path("runs") / name, {"name": name})
    Path("empty").mkdir()
    return tmp_path / "runs"


def remedy(model: str, message: str) -> str:
    with pytest.raises(CheckpointError, match=message) as caught:
        resolve(model)
    return str(caught.value.remedy)


def test_a_run_is_found_by_path_and_by_name(runs: Path) -> None:
    for model in (runs / "quickstart", "runs/quickstart", "runs/quickstart/", "quickstart"):
        assert resolve(model).config == {"name": "quickstart"}


def test_the_home_folder_is_expanded(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(runs))
    assert resolve("~/multi30k").config == {"name": "multi30k"}


def test_a_run_here_comes_before_one_in_runs() -> None:
    RunDirectory.create(Path("multi30k"), {"name": "here"})
    assert resolve("multi30k").config == {"name": "here"}


def test_a_folder_that_is_no_run_does_not_hide_one_in_runs() -> None:
    Path("quickstart").mkdir()
    assert resolve("quickstart").config == {"name": "quickstart"}


def test_a_wrong_name_gets_the_nearest_and_all() -> None:
    text = remedy("quikstart", "there is no model 'quikstart'")
    assert text.startswith("did you mean runs/quickstart?")
    assert "give a run directory, or the name of one in ./runs" in text
    assert "runs/multi30k" in text


def test_runs_beside_the_given_path_are_named(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs.parent / "empty")
    assert str(runs / "multi30k") in remedy(str(runs / "nothing-like-it"), "there is no model")


def test_a_folder_of_runs_names_them() -> None:
    assert "runs/quickstart" in remedy("runs", "the folder 'runs' does not hold a model")


def test_a_file_of_a_run_names_the_run() -> None:
    text = remedy("runs/quickstart/config.yaml", "is a file, not a model")
    assert text.startswith("did you mean runs/quickstart?")


def test_without_any_run_it_says_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("empty")
    assert remedy("x", "no model 'x'") == "give a run directory, or the name of one in ./runs"


def test_a_run_that_cannot_be_opened_says_why() -> None:
    Path("runs/quickstart/config.yaml").write_text("format_version: 7\n")
    assert "newer" in remedy("quickstart", "has format version 7")
