"""Run directories in which nothing was trained: they are started anew, and nothing else is."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from peluche.errors import CheckpointError
from peluche.hub.run import RunDirectory
from peluche.text.tokenizer import TokenizerConfig

WEIGHTS = {"w": torch.ones(4)}


@pytest.fixture
def failed(tmp_path: Path) -> RunDirectory:
    """What is left of a start that failed as late as it can."""
    run = RunDirectory.create(tmp_path / "run", {"attempt": 1})
    with run.lock():
        run.log({"event": "machine", "machine": {}})
        run.save_tokenizer(TokenizerConfig(kind="byte").build([]))
        run.log({"event": "phase", "name": "learn the vocabulary", "seconds": 1.0})
        run.log({"event": "model", "parameters": 3})
    (run.path / "tokens").mkdir()
    (run.path / "tokens" / "train.bin").write_bytes(b"half")
    (run.path / "state" / ".step-00000000.tmp").mkdir(parents=True)
    (run.path / ".labels.json.1.tmp").write_bytes(b"half")
    return run


def test_a_failed_start_is_replaced(failed: RunDirectory) -> None:
    assert failed.untrained
    anew = RunDirectory.create(failed.path, {"attempt": 2})
    assert RunDirectory.open(failed.path).config == {"attempt": 2}
    assert list(anew.events()) == []
    names = {entry.name for entry in failed.path.iterdir()}
    assert names == {".lock", "config.yaml", "checksums.json"}


def test_the_same_start_again_keeps_its_tokens(failed: RunDirectory) -> None:
    RunDirectory.create(failed.path, {"attempt": 1})
    assert (failed.path / "tokens" / "train.bin").read_bytes() == b"half"
    assert not (failed.path / "tokenizer.json").exists()


def write(name: str) -> Callable[[RunDirectory], object]:
    return lambda run: (run.path / name).write_text("years of work\n")


TRAINED: dict[str, Callable[[RunDirectory], object]] = {
    "a state": lambda run: run.save_state(0, {"model": WEIGHTS}, {}),
    "weights": lambda run: run.save_weights(WEIGHTS),
    "best weights only": lambda run: run.save_weights(WEIGHTS, "best"),
    "a step in the log": lambda run: run.log({"event": "step", "step": 1}),
    "a damaged log": write("log.jsonl"),
    "a note": write("notes.txt"),
    "a tokenizer of the user's": write("tokenizer.json"),
    "an edited config": lambda run: (run.path / "config.yaml").write_text("format_version: 1\n"),
    "no record": lambda run: (run.path / "checksums.json").unlink(),
    "a report": lambda run: run.report_path.mkdir(),
    "a file among the states": write("state/notes.txt"),
}


@pytest.mark.parametrize("what", TRAINED)
def test_anything_else_in_the_folder_is_kept(failed: RunDirectory, what: str) -> None:
    TRAINED[what](failed)
    before = {path: path.is_file() and path.read_bytes() for path in failed.path.rglob("*")}
    assert not failed.untrained
    with pytest.raises(CheckpointError, match="already holds a run"):
        RunDirectory.create(failed.path, {"attempt": 2})
    assert before == {path: path.is_file() and path.read_bytes() for path in failed.path.rglob("*")}


def test_a_config_yaml_of_another_program_is_kept(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("mine: 1\n")
    with pytest.raises(CheckpointError, match="already holds a run"):
        RunDirectory.create(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_start_that_goes_on_elsewhere_is_not_replaced(failed: RunDirectory) -> None:
    with failed.lock(), pytest.raises(CheckpointError, match="another process"):
        RunDirectory.create(failed.path, {"attempt": 2})
    assert RunDirectory.open(failed.path).config == {"attempt": 1}
    assert failed.tokenizer()


def test_its_weights_are_said_to_be_untrained(failed: RunDirectory) -> None:
    with pytest.raises(CheckpointError, match="nothing has been trained here yet") as caught:
        failed.load_weights()
    assert caught.value.remedy == f"train it: peluche train RECIPE --run {failed.path}"
