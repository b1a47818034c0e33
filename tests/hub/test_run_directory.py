"""The run directory: create, open, config, weights, checksums, versions, lock."""

import multiprocessing
import os
import resource
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open

from peluche.errors import CheckpointError
from peluche.hub.run import RunDirectory
from peluche.hub.run_config import find_runs
from peluche.text.tokenizer import TokenizerConfig

CONFIG = {"model": {"layers": 3, "rate": 2.5e-9, "name": "Éléphant"}, "seeds": [1, 2], "none": None}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory.create(tmp_path / "runs" / "first", CONFIG)


def weights(value: float) -> dict[str, torch.Tensor]:
    return {"w": torch.full((4,), value)}


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << position % 8
    path.write_bytes(content)


def test_the_config_comes_back_and_its_version_is_first(run: RunDirectory) -> None:
    assert RunDirectory.open(run.path).config == run.config == CONFIG
    text = (run.path / "config.yaml").read_text(encoding="utf-8")
    assert text.startswith("format_version: 1\nmodel:\n")
    assert "Éléphant" in text
    run.config["model"]["layers"] = 7
    assert run.config == CONFIG
    assert run.report_path == run.path / "report"


def test_a_second_run_of_the_same_name_is_refused(run: RunDirectory) -> None:
    run.log({"event": "step", "step": 1})
    with pytest.raises(CheckpointError, match="already holds a run") as caught:
        RunDirectory.create(run.path, CONFIG)
    assert "--resume" in str(caught.value.remedy)


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match="not empty and does not hold a run"):
        RunDirectory.create(tmp_path, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path, CONFIG)
    assert RunDirectory.open(tmp_path).config == CONFIG


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot save the run's config"):
        RunDirectory.create(tmp_path / "file" / "run", CONFIG)


def test_an_absent_run_names_its_nearest_sibling(run: RunDirectory) -> None:
    RunDirectory.create(run.path.with_name("other"), CONFIG)
    with pytest.raises(CheckpointError, match="there is no such run") as caught:
        RunDirectory.open(run.path.with_name("frist"))
    assert caught.value.remedy is not None
    assert caught.value.remedy.startswith(f"did you mean {run.path}?")
    assert "other" in caught.value.remedy
    assert find_runs(run.path.parent) == [run.path, run.path.with_name("other")]


def test_what_is_not_a_run_is_said(run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"not a run \(it has no config\.yaml\)") as caught:
        RunDirectory.open(run.path.parent)
    assert str(run.path) in str(caught.value)
    with pytest.raises(CheckpointError, match="a file, not a run directory") as caught:
        RunDirectory.open(run.path / "config.yaml")
    assert str(run.path) in str(caught.value.remedy)
    with pytest.raises(CheckpointError, match="give the folder of a trained run"):
        RunDirectory.open(tmp_path / "nowhere" / "at" / "all")


@pytest.mark.parametrize(("version", "age"), [(2, "newer"), (99, "newer"), (0, "older")])
def test_another_format_version_is_refused(run: RunDirectory, version: int, age: str) -> None:
    file = run.path / "config.yaml"
    file.write_text(yaml.safe_dump({"format_version": version, **CONFIG}))
    with pytest.raises(CheckpointError, match=f"has format version {version}") as caught:
        RunDirectory.open(run.path)
    assert age in str(caught.value.remedy)


@pytest.mark.parametrize("content", [b"", b"- a\n- b\n", b"model: 1\n", b"a: [1,", b"\xff\xfe\x00"])
def test_a_config_that_cannot_be_read_is_refused(run: RunDirectory, content: bytes) -> None:
    (run.path / "config.yaml").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.yaml cannot be read"):
        RunDirectory.open(run.path)


def test_an_edited_config_is_refused_unless_it_is_meant(run: RunDirectory) -> None:
    file = run.path / "config.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("layers: 3", "layers: 4"))
    with pytest.raises(CheckpointError, match="not the one this run was made with") as caught:
        RunDirectory.open(run.path)
    assert "remove 'config.yaml' from checksums.json" in str(caught.value)
    (run.path / "checksums.json").write_text("{}")
    assert RunDirectory.open(run.path).config["model"]["layers"] == 4


def test_a_flip_of_any_byte_of_the_config_is_found(run: RunDirectory) -> None:
    file = run.path / "config.yaml"
    content = file.read_bytes()
    for position in range(len(content)):
        flip(file, position)
        with pytest.raises(CheckpointError):
            RunDirectory.open(run.path)
        file.write_bytes(content)
    RunDirectory.open(run.path)


def test_weights_come_back_by_name(run: RunDirectory) -> None:
    assert run.weights() == []
    run.save_weights(weights(1), metadata={"step": "7"})
    run.save_weights(weights(2), name="best")
    run.save_weights(weights(3))
    assert run.weights() == ["best", "model"]
    assert torch.equal(run.load_weights()["w"], weights(3)["w"])
    assert torch.equal(run.load_weights("best")["w"], weights(2)["w"])
    run.save_weights(weights(3), name="averaged", metadata={"step": "7"})
    with safe_open(run.path / "averaged.safetensors", "pt") as stream:
        assert stream.metadata() == {"format": "pt", "step": "7"}


def test_a_flip_of_any_byte_of_the_weights_is_found(run: RunDirectory) -> None:
    run.save_weights(weights(1))
    file = run.path / "model.safetensors"
    content = file.read_bytes()
    for position in range(len(content)):
        flip(file, position)
        with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
            run.load_weights()
        file.write_bytes(content)
    assert torch.equal(run.load_weights()["w"], weights(1)["w"])


@pytest.mark.parametrize("length", [0, 1, 8, 60, -1])
def test_truncated_weights_are_found(run: RunDirectory, length: int) -> None:
    run.save_weights(weights(1))
    file = run.path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        run.load_weights()


def test_the_remedy_names_what_is_intact(run: RunDirectory) -> None:
    for name in ("model", "best", "averaged"):
        run.save_weights(weights(1), name=name)
    flip(run.path / "model.safetensors", -1)
    flip(run.path / "averaged.safetensors", -1)
    with pytest.raises(CheckpointError) as caught:
        run.load_weights()
    assert caught.value.remedy == "use other weights of this run: best"
    run.save_state(500, {"model": weights(1)}, {})
    with pytest.raises(CheckpointError) as caught:
        run.load_weights()
    assert caught.value.remedy == (
        "use other weights of this run: best; or resume the run: its state of step 500 is intact"
    )


def test_absent_weights_name_those_there_are(run: RunDirectory) -> None:
    run.log({"event": "step", "step": 1})
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors") as caught:
        run.load_weights()
    assert caught.value.remedy == "copy it again from where the run was trained"
    run.save_weights(weights(1))
    with pytest.raises(CheckpointError, match=r"has no best\.safetensors") as caught:
        run.load_weights("best")
    assert caught.value.remedy == "use other weights of this run: model"


def test_weights_put_there_by_hand_are_read(run: RunDirectory) -> None:
    run.save_weights(weights(1))
    (run.path / "mine.safetensors").write_bytes((run.path / "model.safetensors").read_bytes())
    assert torch.equal(run.load_weights("mine")["w"], weights(1)["w"])
    (run.path / "mine.safetensors").write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match=r"mine\.safetensors is not a whole"):
        run.load_weights("mine")


def test_a_flip_in_the_checksums_never_lets_wrong_weights_pass(run: RunDirectory) -> None:
    run.save_weights(weights(1))
    file = run.path / "checksums.json"
    content = file.read_bytes()
    refused = 0
    for position in range(len(content)):
        flip(file, position)
        try:
            assert torch.equal(run.load_weights()["w"], weights(1)["w"])
        except CheckpointError:
            refused += 1
        file.write_bytes(content)
    assert refused >= 64  # the digits of the sum, at least


@pytest.mark.parametrize("content", [None, b"", b"[1]", b"3", b'{"a": 3}', b"\xff"])
def test_checksums_that_cannot_be_read_are_said(run: RunDirectory, content: bytes | None) -> None:
    run.save_weights(weights(1))
    file = run.path / "checksums.json"
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"checksums\.json cannot be read") as caught:
        RunDirectory.open(run.path)
    assert "a file with {} in it" in str(caught.value.remedy)


def test_weights_that_do_not_fit_leave_the_earlier_ones(run: RunDirectory) -> None:
    run.save_weights(weights(1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(
            CheckpointError, match=r"needs 400\.0 kB.*earlier model\.safetensors is as it was"
        ):
            run.save_weights({"w": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert torch.equal(run.load_weights()["w"], weights(1)["w"])
    assert not list(run.path.glob(".*.tmp"))


def test_leftovers_of_a_killed_process_are_removed_at_the_next_save(run: RunDirectory) -> None:
    leftover = run.path / ".model.safetensors.12345.tmp"
    leftover.write_bytes(b"half")
    assert run.weights() == []
    run.save_weights(weights(1))
    assert not leftover.exists()


def test_the_tokenizer_comes_back_and_is_checked(run: RunDirectory) -> None:
    text = "Un ours en peluche mignon lit."
    tokenizer = TokenizerConfig(kind="byte").build([])
    run.save_tokenizer(tokenizer)
    assert RunDirectory.open(run.path).tokenizer().encode(text) == tokenizer.encode(text)
    content = (run.path / "tokenizer.json").read_bytes()
    for position in range(0, len(content), len(content) // 50):
        flip(run.path / "tokenizer.json", position)
        with pytest.raises(CheckpointError, match=r"tokenizer\.json is damaged"):
            run.tokenizer()
        (run.path / "tokenizer.json").write_bytes(content)
    (run.path / "tokenizer.json").unlink()
    run.save_weights(weights(1))
    with pytest.raises(CheckpointError, match=r"this run has no tokenizer\.json"):
        run.tokenizer()


def test_states_and_log_are_reached_through_the_run(run: RunDirectory) -> None:
    run.save_state(5, {"model": weights(5)}, {"epoch": 1}, keep=1)
    run.save_state(9, {"model": weights(9)}, {"epoch": 2}, keep=1)
    state = RunDirectory.open(run.path).latest_state(pytest.fail)
    assert state is not None
    assert (state.step, state.record, run.states()) == (9, {"epoch": 2}, [9])
    run.log({"event": "step", "step": 9, "loss": 0.5})
    (event,) = RunDirectory.open(run.path).events()
    assert (event["event"], event["step"], event["loss"]) == ("step", 9, 0.5)


def test_one_process_at_a_time(run: RunDirectory) -> None:
    with (
        run.lock(),
        pytest.raises(CheckpointError, match=rf"another process \(pid {os.getpid()}\)"),
        RunDirectory.open(run.path).lock(),
    ):
        pytest.fail("locked twice")
    with run.lock():
        pass


def test_an_error_inside_the_lock_is_not_taken_for_one_of_it(run: RunDirectory) -> None:
    with pytest.raises(FileNotFoundError, match="corpus"), run.lock():
        raise FileNotFoundError("corpus")
    with run.lock():
        pass


def hold_the_lock(path: Path, held: "multiprocessing.synchronize.Event") -> None:
    with RunDirectory.open(path).lock():
        held.set()
        multiprocessing.Event().wait(60)


def test_the_lock_goes_with_its_process(run: RunDirectory) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=hold_the_lock, args=(run.path, held))
    process.start()
    try:
        assert held.wait(60)
        with (
            pytest.raises(CheckpointError, match=rf"another process \(pid {process.pid}\)"),
            run.lock(),
        ):
            pytest.fail("locked twice")
    finally:
        process.kill()
        process.join()
    with run.lock():
        pass
