"""States of training on disk: one folder a state, whole or not there at all.

    state/step-00000500/{group}.safetensors   tensors: model, optimizer, random, ...
                        {group}/              those that processes have divided among them
                        state.json            everything else, as JSON
                        manifest.json         size and SHA-256 of each file above

A state is written to a temporary folder, flushed, and renamed. A step that is saved again (after a
roll-back) gets a folder of its own, `step-00000500.1`, so that no whole state is ever moved away
before the one that replaces it is in place.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from peluche.errors import CheckpointError
from peluche.files import sha256, sync_directory, write_text
from peluche.hub.failure import explain_failure
from peluche.hub.sharded import Place, is_divided, placed, read_sharded, write_sharded
from peluche.hub.tensors import bytes_needed, read_tensors, write_tensors
from peluche.processes import ALONE, Processes

_STATE_NAME = re.compile(r"step-(\d{8,})(?:\.(\d+))?")
_TEMPORARY = ".{}.tmp"


def _whole(name: str, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype)


@dataclass(frozen=True)
class SavedState:
    """A state of training: named groups of named tensors, and a JSON-able record.

    Attributes:
        tensors: the groups that one process wrote.
        sharded: folders of those that several wrote together, see `peluche.hub.sharded`.
    """

    step: int
    tensors: dict[str, dict[str, Tensor]]
    record: dict[str, Any]
    sharded: dict[str, Path] = field(default_factory=dict)

    def names(self) -> list[str]:
        """The names of all groups."""
        return [*self.tensors, *self.sharded]

    def group(self, name: str, place: Place = _whole) -> dict[str, Tensor]:
        """A group's tensors, each where `place` says, whole unless given.

        Raises:
            CheckpointError: its files do not belong together.
        """
        if name in self.sharded:
            return read_sharded(self.sharded[name], place)
        return placed(self.tensors[name], place)


class _Entry(NamedTuple):
    step: int
    revision: int
    path: Path


class StateFolder:
    """The `state/` folder of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def steps(self) -> list[int]:
        """Steps of which a state exists, whole or not, in order."""
        return sorted({entry.step for entry in self._entries()})

    def intact_steps(self) -> list[int]:
        """Steps whose state passes every check, in order."""
        return sorted({entry.step for entry in self._entries() if _is_intact(entry)})

    def save(
        self,
        step: int,
        tensors: Mapping[str, Mapping[str, Tensor]],
        record: Mapping[str, Any],
        keep: int = 2,
        processes: Processes = ALONE,
    ) -> Path | None:
        """Write one state and return its folder; then remove those that it makes superfluous.

        All of several processes call this; the first writes, and the others what they have of
        tensors that are divided among them.

        Kept are this state and the newest earlier ones, `keep` in all. States of later steps belong
        to a course that training has left (it went on from an earlier one) and are removed too.
        `record` is kept as JSON: its keys come back as strings, its tuples as lists.

        Raises:
            CheckpointError: when the state cannot be written; earlier states are then as they were.
        """
        if keep < 1:
            raise ValueError(f"keep is {keep}; at least the state being saved must be kept")
        divided = {name for name, group in tensors.items() if any(map(is_divided, group.values()))}
        if not (processes.first or divided):
            return None
        text = json.dumps(record)
        needed = len(text) + sum(bytes_needed(group) for group in tensors.values())
        revisions = [entry.revision for entry in self._entries() if entry.step == step]
        name = f"step-{step:08d}" + (f".{max(revisions) + 1}" if revisions else "")
        temporary = self.path / _TEMPORARY.format(name)
        final = None
        with explain_failure(f"the state of step {step}", self.path, needed, self._reassurance):
            try:
                if processes.first:
                    self._remove_leftovers()
                    temporary.mkdir(parents=True)
                if divided:
                    temporary = processes.agree(temporary)
                    for group in sorted(divided):
                        write_sharded(temporary / group, tensors[group])
                if processes.first:
                    whole = {name: tensors[name] for name in tensors if name not in divided}
                    _write(temporary, step, whole, text)
                    final = temporary.rename(self.path / name)
                    sync_directory(self.path)
                    sync_directory(self.path.parent)
            finally:
                if processes.first:
                    shutil.rmtree(temporary, ignore_errors=True)
        if final is not None:
            self._prune(_Entry(step, max(revisions, default=-1) + 1, final), keep)
        return final

    def latest(self, say: Callable[[str], None]) -> SavedState | None:
        """The newest intact state, or None; each damaged one on the way is reported to `say`."""
        problems: list[str] = []
        found = None
        for entry in self._entries():
            try:
                found = _read(entry)
                break
            except CheckpointError as error:
                problems.append(f"the state in {entry.path} is damaged: {error.what}")
        outcome = f"using {entry.path.name} instead" if found else "no earlier state is intact"
        for problem in problems:
            say(f"{problem}; {outcome}")
        return found

    def _entries(self) -> list[_Entry]:
        """Newest first."""
        if not self.path.is_dir():
            return []
        matches = ((_STATE_NAME.fullmatch(path.name), path) for path in self.path.iterdir())
        return sorted(
            (_Entry(int(m[1]), int(m[2] or 0), path) for m, path in matches if m), reverse=True
        )

    def _prune(self, newest: _Entry, keep: int) -> None:
        others = [entry for entry in self._entries() if entry != newest]
        # Sizes only: reading every older state at each save would cost as much as the save.
        useful = [
            entry
            for entry in others
            if entry.step < newest.step and _is_intact(entry, contents=False)
        ]
        for entry in others:
            if entry not in useful[: keep - 1]:
                _remove_whole(entry.path)

    def _remove_leftovers(self) -> None:
        """Remove what a killed process left unfinished."""
        for leftover in self.path.glob(_TEMPORARY.format("*")):
            shutil.rmtree(leftover, ignore_errors=True)

    def _reassurance(self) -> str:
        steps = self.intact_steps()
        return f"the state of step {steps[-1]} is intact" if steps else "no state was saved before"


def _write(
    folder: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], record: str
) -> None:
    for group, members in tensors.items():
        write_tensors(folder / f"{group}.safetensors", members)
    write_text(folder / "state.json", record)
    files = {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    write_text(folder / "manifest.json", json.dumps({"step": step, "files": files}, indent=1))


def _read(entry: _Entry) -> SavedState:
    names = [Path(name) for name in _verified(entry)]
    tensors = {
        name.stem: read_tensors(entry.path / name)
        for name in names
        if name.suffix == ".safetensors" and name.parent == Path()
    }
    folders = {name.parent for name in names} - {Path()}
    sharded = {folder.name: entry.path / folder for folder in folders}
    record = json.loads((entry.path / "state.json").read_bytes())
    return SavedState(entry.step, tensors, record, sharded)


def _is_intact(entry: _Entry, *, contents: bool = True) -> bool:
    try:
        _verified(entry, contents=contents)
    except CheckpointError:
        return False
    return True


def _verified(entry: _Entry, *, contents: bool = True) -> list[str]:
    """The names of a state's files, once all are as its manifest says."""

    def damaged(what: str) -> CheckpointError:
        return CheckpointError(what, where=entry.path, remedy="use another state")

    try:
        manifest = json.loads((entry.path / "manifest.json").read_bytes())
        expected = {name: (f["bytes"], f["sha256"]) for name, f in manifest["files"].items()}
        step = manifest["step"]
    except FileNotFoundError:
        raise damaged("manifest.json is missing") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise damaged("manifest.json cannot be read") from None
    if step != entry.step or "state.json" not in expected:
        raise damaged("manifest.json is not the one of this state")
    for name, (size, checksum) in expected.items():
        path = entry.path / name
        try:
            if path.stat().st_size != size:
                raise damaged(f"{name} has {path.stat().st_size} bytes instead of {size}")
            if contents and sha256(path) != checksum:
                raise damaged(f"{name} was altered (its SHA-256 is not the recorded one)")
        except OSError as error:
            raise damaged(f"{name} cannot be read ({error.strerror})") from None
    return list(expected)


def _remove_whole(path: Path) -> None:
    """Remove a state so that a kill half-way leaves no folder that looks like a damaged state."""
    hidden = path.with_name(_TEMPORARY.format(path.name))
    try:
        path.rename(hidden)
    except OSError:
        return
    shutil.rmtree(hidden, ignore_errors=True)
