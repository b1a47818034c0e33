"""Run directories in which nothing has been trained yet: starts that failed or were stopped."""

from __future__ import annotations

import shutil
from pathlib import Path

from peluche.errors import CheckpointError
from peluche.hub.checksums import CHECKSUMS, CheckedFiles
from peluche.hub.event_log import EventLog
from peluche.hub.lock import LOCK, locked
from peluche.hub.run_config import CONFIG

LOG, STATE = "log.jsonl", "state"
TOKENS = "tokens"
PREPARED = (TOKENS, "corpus.bin", "cooccurrence.bin")  # what recipes encode before the first step
BEFORE_TRAINING = ("machine", "phase", "model")


def is_untrained(folder: Path) -> bool:
    """Whether a folder holds nothing, or only what a run makes before its first state.

    That is what was recorded when it was written and is still the same (config, tokenizer, ...),
    except weights; what recipes prepare; and a log that tells of no step.
    """
    entries = [entry for entry in folder.iterdir() if not _is_unfinished(entry)]
    # Without reading a large file: where these are, something was trained.
    if any(entry.suffix == ".safetensors" or _has_states(entry) for entry in entries):
        return False
    if all(entry.name in (CHECKSUMS, LOCK) for entry in entries):
        return True
    files = CheckedFiles(folder)
    return files.made(CONFIG) and all(_is_of_a_start(entry, files) for entry in entries)


def clear(folder: Path, config: str) -> None:
    """Empty the folder of an untrained run, so that it can be started anew.

    Args:
        config: of the run that is to start, as it will stand in its file; if it is the same again,
            the tokens that were made stay, which may have taken hours.

    Raises:
        CheckpointError: when another process is about to train there.
    """
    with locked(folder):
        # The config and its record come last: what a crash leaves is untrained, too.
        last = (CONFIG, CHECKSUMS)
        again = (folder / CONFIG).read_text(encoding="utf-8") == config
        for entry in folder.iterdir():
            if again and entry.name == TOKENS:
                continue
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name not in (LOCK, *last):
                entry.unlink()
        for name in last:
            (folder / name).unlink()


def nothing_trained(folder: Path) -> CheckpointError:
    """The error of asking an untrained run for what comes of training."""
    return CheckpointError(
        "nothing has been trained here yet",
        where=folder,
        remedy=f"train it: peluche train RECIPE --run {folder}",
    )


def _is_of_a_start(entry: Path, files: CheckedFiles) -> bool:
    if entry.name == LOG:
        return _tells_of_no_step(EventLog(entry))
    return entry.name in (CHECKSUMS, LOCK, STATE, *PREPARED) or files.made(entry.name)


def _tells_of_no_step(log: EventLog) -> bool:
    try:
        return all(event.get("event") in BEFORE_TRAINING for event in log.read())
    except CheckpointError:  # what cannot be read is not ours to delete
        return False


def _has_states(entry: Path) -> bool:
    return entry.name == STATE and not (
        entry.is_dir() and all(_is_unfinished(state) for state in entry.iterdir())
    )


def _is_unfinished(path: Path) -> bool:
    """Whether this may be what a killed process was writing."""
    return path.name.startswith(".") and path.name.endswith(".tmp")
