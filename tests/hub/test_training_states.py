"""States of training: round trip, damage of every kind, full disks, which ones are kept."""

import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from peluche.errors import CheckpointError
from peluche.hub import checkpoint
from peluche.hub.checkpoint import StateFolder

Tensors = dict[str, dict[str, torch.Tensor]]


def tensors(value: float, size: int = 20) -> Tensors:
    weight = torch.full((size,), value)
    return {
        "model": {"weight": weight, "tied": weight},
        "optimizer": {"weight.exp_avg": torch.full((size,), -value)},
        "random": {"torch": torch.get_rng_state()},
    }


def step_of(states: StateFolder) -> tuple[int | None, list[str]]:
    """The step that would be resumed, and what was said; checks that its contents are of it."""
    said: list[str] = []
    state = states.latest(said.append)
    if state is None:
        return None, said
    assert state.record["step"] == state.step
    assert torch.equal(state.tensors["model"]["weight"], torch.full((20,), float(state.step)))
    return state.step, said


def save(states: StateFolder, step: int, keep: int = 2) -> Path:
    return states.save(step, tensors(step), {"step": step}, keep)


@pytest.fixture
def states(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "run" / "state")


def test_a_state_comes_back_exactly(states: StateFolder) -> None:
    record = {"epoch": 3, "position": 12_345_678_901, "rate": 0.1 + 0.2, "hooks": {"best": None}}
    saved = tensors(0.1)
    assert states.save(500, saved, record) == states.path / "step-00000500"
    said: list[str] = []
    state = states.latest(said.append)
    assert state is not None
    assert not said
    assert (state.step, state.record) == (500, record)
    assert {group: set(members) for group, members in state.tensors.items()} == {
        group: set(members) for group, members in saved.items()
    }
    for group, members in saved.items():
        for name, tensor in members.items():
            assert torch.equal(state.tensors[group][name], tensor)


def test_no_state_is_none(states: StateFolder) -> None:
    assert step_of(states) == (None, [])
    assert states.steps() == []


def test_a_record_that_json_cannot_hold_is_refused_before_anything_is_written(
    states: StateFolder,
) -> None:
    with pytest.raises(TypeError):
        states.save(1, tensors(1), {"rate": torch.ones(1)})
    assert not states.path.exists()


def test_the_newest_are_kept(states: StateFolder) -> None:
    for step in (100, 200, 300, 400):
        save(states, step, keep=2)
    assert states.steps() == [300, 400]
    save(states, 500, keep=1)
    assert states.steps() == [500]
    with pytest.raises(ValueError, match="keep is 0"):
        save(states, 600, keep=0)


def test_a_damaged_state_does_not_count_as_kept(states: StateFolder) -> None:
    save(states, 100)
    damaged = save(states, 200)
    (damaged / "manifest.json").unlink()
    save(states, 300, keep=2)
    assert states.steps() == [100, 300]


def test_a_step_saved_again_replaces_the_first(states: StateFolder) -> None:
    states.save(500, tensors(1.0), {"step": 500, "try": 1})
    second = states.save(500, tensors(500.0), {"step": 500, "try": 2})
    assert step_of(states) == (500, [])
    assert list(states.path.iterdir()) == [second]
    states.save(500, tensors(500.0), {"step": 500, "try": 3})
    state = states.latest(pytest.fail)
    assert state is not None
    assert state.record["try"] == 3


def test_states_that_training_has_left_behind_are_removed(states: StateFolder) -> None:
    for step in (100, 200, 300):
        save(states, step, keep=3)
    (states.path / "step-00000300" / "state.json").write_text("")
    assert step_of(states)[0] == 200
    save(states, 250, keep=3)
    assert states.steps() == [100, 200, 250]


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("kind", ["flipped", "truncated", "emptied", "missing", "longer"])
def test_damage_is_found_and_the_earlier_state_is_used(
    states: StateFolder, file: str, kind: str
) -> None:
    save(states, 100)
    path = save(states, 200) / file
    content = bytearray(path.read_bytes())
    if kind == "flipped":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif kind == "missing":
        path.unlink()
    else:
        kinds = {"truncated": content[:-1], "emptied": b"", "longer": content + b"\n"}
        path.write_bytes(kinds[kind])
    step, said = step_of(states)
    assert step == 100
    assert len(said) == 1
    assert file in said[0]
    assert "step-00000200 is damaged" in said[0]
    assert said[0].endswith("using step-00000100 instead")


def test_a_flip_of_any_byte_never_gives_a_wrong_state(states: StateFolder) -> None:
    save(states, 100)
    newest = save(states, 200)
    for file in sorted(newest.iterdir()):
        content = file.read_bytes()
        stride = 1 if file.name == "manifest.json" else max(1, len(content) // 25)
        for position in range(0, len(content), stride):
            flipped = bytearray(content)
            flipped[position] ^= 1 << position % 8
            file.write_bytes(flipped)
            step, said = step_of(states)
            # A space of the manifest's layout may become another one; nothing else may pass.
            assert step == 100 or (file.name == "manifest.json" and content[position] in b" \n")
            assert bool(said) == (step == 100)
        file.write_bytes(content)
    assert step_of(states) == (200, [])


@pytest.mark.parametrize(
    "manifest",
    ["", "nonsense", "[]", "{}", '{"step": 200}', '{"step": 200, "files": {}}', "\x00\x01"],
)
def test_a_garbage_manifest_is_damage(states: StateFolder, manifest: str) -> None:
    save(states, 100)
    (save(states, 200) / "manifest.json").write_text(manifest)
    step, said = step_of(states)
    assert step == 100
    assert "manifest.json" in said[0]


def test_a_missing_manifest_is_damage(states: StateFolder) -> None:
    save(states, 100)
    (save(states, 200) / "manifest.json").unlink()
    step, said = step_of(states)
    assert step == 100
    assert "manifest.json is missing" in said[0]


def test_a_state_under_the_name_of_another_step_is_damage(states: StateFolder) -> None:
    save(states, 100)
    save(states, 200).rename(states.path / "step-00000300")
    step, said = step_of(states)
    assert step == 100
    assert "not the one of this state" in said[0]


def test_when_all_are_damaged_each_is_said(states: StateFolder) -> None:
    for path in [save(states, step) for step in (100, 200)]:
        (path / "state.json").unlink()
    step, said = step_of(states)
    assert step is None
    assert len(said) == 2
    assert all(line.endswith("no earlier state is intact") for line in said)
    assert states.steps() == [100, 200]


def test_other_things_in_the_folder_are_left_alone(states: StateFolder) -> None:
    save(states, 100)
    (states.path / "notes.txt").write_text("mine")
    (states.path / "step-backup").mkdir()
    save(states, 200, keep=1)
    assert sorted(path.name for path in states.path.iterdir()) == [
        "notes.txt",
        "step-00000200",
        "step-backup",
    ]


def test_leftovers_of_a_killed_process_are_removed_at_the_next_save(states: StateFolder) -> None:
    leftover = states.path / ".step-00000100.tmp"
    leftover.mkdir(parents=True)
    (leftover / "model.safetensors").write_bytes(b"half")
    assert states.steps() == []
    assert step_of(states) == (None, [])
    save(states, 100)
    assert [path.name for path in states.path.iterdir()] == ["step-00000100"]


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_does_not_fit_loses_nothing(states: StateFolder) -> None:
    save(states, 100)
    with (
        files_limited_to(100_000),
        pytest.raises(CheckpointError, match=r"needs 200\.\d kB.*step 100 is intact") as caught,
    ):
        states.save(200, {"model": {"weight": torch.zeros(50_000)}}, {"step": 200})
    assert "free on that disk" in caught.value.what
    assert caught.value.remedy == "make room on the disk, then try again"
    assert [path.name for path in states.path.iterdir()] == ["step-00000100"]
    assert step_of(states) == (100, [])


@pytest.mark.parametrize("failing", ["write_tensors", "write_text", "sha256", "sync_directory"])
def test_an_error_in_any_part_loses_nothing(
    states: StateFolder, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(states, 100)
    original = getattr(checkpoint, failing)
    calls = 0

    def fails_at_the_second_call(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, failing, fails_at_the_second_call)
        with pytest.raises(CheckpointError, match="cannot save the state of step 200"):
            save(states, 200)
    assert not list(states.path.glob(".*"))
    expected = 200 if failing == "sync_directory" else 100  # it is in place by then
    assert step_of(states) == (expected, [])


def test_the_first_save_on_a_full_disk(states: StateFolder) -> None:
    with files_limited_to(10), pytest.raises(CheckpointError, match="no state was saved before"):
        save(states, 100)
    assert step_of(states) == (None, [])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() or not mount or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    states = StateFolder(small_disk / "run" / "state")
    save(states, 100)
    with pytest.raises(CheckpointError, match=r"No space left.*needs 1\.2 MB.*step 100 is intact"):
        states.save(200, {"model": {"weight": torch.zeros(300_000)}}, {"step": 200})
    assert step_of(states) == (100, [])
    assert [path.name for path in states.path.iterdir()] == ["step-00000100"]
    save(states, 300)
    assert step_of(states) == (300, [])


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in the way")
    with pytest.raises(CheckpointError, match="cannot save the state") as caught:
        save(StateFolder(tmp_path / "state"), 1)
    assert caught.value.remedy == "make the folder writable, then try again"
