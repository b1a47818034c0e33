"""The run directory: everything that one training run makes, in one folder.

    config.yaml          format_version, then the config the run was made with
    tokenizer.json       and what else a task needs: labels.json, calibration.json; for a tokenizer
                         that was learnt elsewhere, special.json has the ids of its special tokens
    model.safetensors    and other weights by name: best, averaged, ...
    checksums.json       SHA-256 of each file above (peluche.hub.checksums)
    state/               states of training to resume from (peluche.hub.checkpoint)
    log.jsonl            every event (peluche.hub.event_log)
    report/

Every file is replaced atomically. A crash at any moment leaves a folder that passes its checks.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from peluche.errors import CheckpointError
from peluche.hub.checkpoint import SavedState, StateFolder
from peluche.hub.checksums import CHECKSUMS, CheckedFiles
from peluche.hub.event_log import EventLog
from peluche.hub.failure import explain_failure
from peluche.hub.lock import locked
from peluche.hub.run_config import (
    CONFIG,
    FORMAT_VERSION,
    is_run,
    no_run,
    parse_config,
    unreadable_config,
)
from peluche.hub.tensors import bytes_needed, read_tensors, write_tensors
from peluche.hub.untrained import LOG, STATE, clear, is_untrained, nothing_trained
from peluche.processes import ALONE, Processes
from peluche.text.chat import ChatSource, of_tokenizer
from peluche.text.tokenizer import OWN, SpecialIds, Tokenizer

SPECIAL = "special.json"


class RunDirectory:
    """One run on disk. Make one with `create`, open one with `open`.

    Attributes:
        follows: another process writes parts, weights and events; this one only reads them.
    """

    def __init__(self, path: Path, config: dict[str, Any], *, follows: bool = False) -> None:
        self.path, self.follows = path, follows
        self._config = config
        self._files = CheckedFiles(path)
        self._states = StateFolder(path / STATE)
        self._log = EventLog(path / LOG)

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any]) -> RunDirectory:
        """Make a run directory, with its parents, for a config of plain values (as in YAML).

        A run in which nothing has been trained yet is replaced.

        Raises:
            CheckpointError: when the folder holds a run or other files, or cannot be made.
        """
        used = path.is_dir() and not is_untrained(path)
        if used and is_run(path):
            raise CheckpointError(
                "this folder already holds a run",
                where=path,
                remedy=f"go on with it (peluche train --resume {path}), name another folder "
                "(--run), or delete this one",
            )
        if used:
            raise CheckpointError(
                "this folder is not empty and does not hold a run",
                where=path,
                remedy="give the name of a folder that does not exist yet",
            )
        text = yaml.safe_dump(
            {"format_version": FORMAT_VERSION, **config}, sort_keys=False, allow_unicode=True
        )
        if is_run(path):
            clear(path, text)
        run = cls(path, parse_config(text, path / CONFIG))
        with explain_failure("the run's config", path, len(text), lambda: "nothing was made"):
            path.mkdir(parents=True, exist_ok=True)
            run._files.start()
        run._files.put(CONFIG, lambda temporary: _write_plain(temporary, text), len(text))
        return run

    @classmethod
    def open(cls, path: Path, *, follows: bool = False) -> RunDirectory:
        """Open an existing run; see the class for `follows`.

        Raises:
            CheckpointError: when there is none here, it was made by another format version, or its
                config is not the one that was recorded.
        """
        if not is_run(path):
            raise no_run(path)
        file = path / CONFIG
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise unreadable_config(file, str(error)) from None
        run = cls(path, parse_config(text, file), follows=follows)
        if not run._files.is_intact(CONFIG):
            raise CheckpointError(
                "config.yaml is not the one this run was made with",
                where=file,
                remedy=f"undo the change; or, if it is meant, remove '{CONFIG}' from {CHECKSUMS}",
            )
        return run

    @property
    def config(self) -> dict[str, Any]:
        """The config as it was given, without the format version."""
        return copy.deepcopy(self._config)

    @property
    def untrained(self) -> bool:
        """Whether nothing has been trained here yet: there is no state, no step, no weights."""
        return is_untrained(self.path)

    @property
    def report_path(self) -> Path:
        """Where reports about this run go."""
        return self.path / "report"

    def save_part(self, name: str, write: Callable[[Path], None]) -> None:
        """Write a file that the model needs, by a function that writes it to a path.

        Raises:
            CheckpointError: when it cannot be written; the earlier file is then as it was.
        """
        if not self.follows:
            self._files.put(name, write)

    def part(self, name: str) -> Path:
        """The path of such a file, verified.

        Raises:
            CheckpointError: when it is absent or altered.
        """
        self._check(name, lambda: "copy it again from where the run was trained")
        return self.path / name

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.path / name).exists()

    def save_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Write tokenizer.json, and special.json if it was learnt elsewhere."""
        # The tokenizer comes last: where it is, all of it is.
        if tokenizer.special != OWN:
            text = json.dumps(tokenizer.special._asdict()) + "\n"
            self.save_part(SPECIAL, lambda path: _write_plain(path, text))
        self.save_part("tokenizer.json", tokenizer.save)

    def tokenizer(self) -> Tokenizer:
        """Read tokenizer.json.

        Raises:
            CheckpointError: when it is absent or altered.
        """
        path = self.part("tokenizer.json")
        if not self.has(SPECIAL):
            return Tokenizer.load(path)
        ids = json.loads(self.part(SPECIAL).read_bytes())
        return Tokenizer.load(path, SpecialIds(**{**ids, "never": tuple(ids["never"])}))

    def chat(self) -> ChatSource | None:
        """How the model talks, if its tokenizer was learnt for that."""
        return of_tokenizer(self.tokenizer())

    def save_weights(
        self,
        tensors: Mapping[str, Tensor],
        name: str = "model",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Write `name`.safetensors; `metadata` goes into its header.

        Raises:
            CheckpointError: when it cannot be written; the weights of that name are then as before.
        """
        if self.follows:
            return
        self._files.put(
            f"{name}.safetensors",
            lambda temporary: write_tensors(temporary, tensors, metadata),
            bytes_needed(tensors),
        )

    def load_weights(self, name: str = "model") -> dict[str, Tensor]:
        """Read `name`.safetensors, verified, on the CPU.

        Raises:
            CheckpointError: when it is absent, truncated or altered.
        """
        file = f"{name}.safetensors"
        self._check(file, lambda: self._remedy_for_weights(name))
        return read_tensors(self.path / file)

    def weights(self) -> list[str]:
        """Names of the weights in this run: model, best, averaged, ..."""
        return sorted(path.stem for path in self.path.glob("[!.]*.safetensors"))

    def save_state(
        self,
        step: int,
        tensors: Mapping[str, Mapping[str, Tensor]],
        record: Mapping[str, Any],
        keep: int = 2,
        processes: Processes = ALONE,
    ) -> Path | None:
        """Save a state to resume from; see `StateFolder.save`."""
        return self._states.save(step, tensors, record, keep, processes)

    def latest_state(self, say: Callable[[str], None]) -> SavedState | None:
        """The newest intact state, or None; each damaged one on the way is reported to `say`."""
        return self._states.latest(say)

    def states(self) -> list[int]:
        """Steps of which a state was saved, in order."""
        return self._states.steps()

    def log(self, event: Mapping[str, Any]) -> None:
        """Append one event to log.jsonl, with "time" in seconds since the epoch."""
        if not self.follows:
            self._log.append(event)

    def events(self) -> Iterator[dict[str, Any]]:
        """Events of the log in order, without those that a resume made void."""
        return self._log.read()

    def lock(self) -> AbstractContextManager[None]:
        """Hold the run for this process while in the context: two cannot train in one folder.

        Raises:
            CheckpointError: when another process holds it.
        """
        return locked(self.path)

    def _check(self, name: str, remedy: Callable[[], str]) -> None:
        path = self.path / name
        if not path.is_file():
            if self.untrained:
                raise nothing_trained(self.path)
            raise CheckpointError(f"this run has no {name}", where=path, remedy=remedy())
        if not self._files.is_intact(name):
            raise CheckpointError(
                f"{name} is damaged (its SHA-256 is not the one in {CHECKSUMS})",
                where=path,
                remedy=remedy(),
            )

    def _remedy_for_weights(self, name: str) -> str:
        others = [
            other
            for other in self.weights()
            if other != name and self._files.is_intact(f"{other}.safetensors")
        ]
        steps = self._states.intact_steps()
        remedies = []
        if others:
            remedies.append(f"use other weights of this run: {', '.join(others)}")
        if steps:
            remedies.append(f"resume the run: its state of step {steps[-1]} is intact")
        return "; or ".join(remedies) or "copy it again from where the run was trained"


def _write_plain(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
