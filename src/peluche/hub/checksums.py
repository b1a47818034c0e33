"""Files of a folder and their recorded SHA-256 sums, in agreement at every moment."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from peluche.errors import CheckpointError
from peluche.files import replacing, sha256, write_text
from peluche.hub.failure import explain_failure

CHECKSUMS = "checksums.json"


class CheckedFiles:
    """Files whose sums stand in the folder's `checksums.json`.

    The record holds, for each file, the list of sums it may have. While a file is being replaced
    both its old and its new sum are in the list, so that a crash between any two steps leaves a
    file that passes its check.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self) -> None:
        """Begin an empty record."""
        write_text(self.folder / CHECKSUMS, "{}")

    def put(self, name: str, write: Callable[[Path], None], needed: int | None = None) -> None:
        """Replace a file by what `write` puts at the path it is given; `needed` is its size.

        Raises:
            CheckpointError: when it cannot be written; the earlier file is then as it was.
        """
        path = self.folder / name
        kept = f"the earlier {name} is as it was" if path.exists() else f"there is no {name} yet"
        accepted = self._sums().get(name, [])
        with explain_failure(name, self.folder, needed, lambda: kept):
            self._remove_leftovers(name)
            with replacing(path) as temporary:
                write(temporary)
                checksum = sha256(temporary)
                self._record(name, [*accepted, checksum])
        # The file is in place and its sum is accepted; forgetting the old sums can wait.
        with suppress(OSError):
            self._record(name, [checksum])

    def is_intact(self, name: str) -> bool:
        """Whether a file has a recorded sum; one that was put here by hand has none to miss."""
        accepted = self._sums().get(name)
        return accepted is None or sha256(self.folder / name) in accepted

    def made(self, name: str) -> bool:
        """Whether a file was put here by `put` and is as it was."""
        try:
            recorded = name in self._sums()
        except CheckpointError:
            return False
        return recorded and (self.folder / name).is_file() and self.is_intact(name)

    def _remove_leftovers(self, name: str) -> None:
        """Remove what a killed process left unfinished of a file and of the record."""
        for written in (name, CHECKSUMS):
            # The star: a writer that is atomic by itself puts one more dot in front.
            for leftover in self.folder.glob(f".*{written}.*.tmp"):
                leftover.unlink()

    def _record(self, name: str, accepted: list[str]) -> None:
        write_text(self.folder / CHECKSUMS, json.dumps(self._sums() | {name: accepted}, indent=1))

    def _sums(self) -> dict[str, list[str]]:
        path = self.folder / CHECKSUMS
        try:
            content = json.loads(path.read_bytes())
            if not isinstance(content, dict):
                raise ValueError("not an object")
            return {name: [str(checksum) for checksum in sums] for name, sums in content.items()}
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(
                f"{CHECKSUMS} cannot be read ({error})",
                where=path,
                remedy="copy it again from where the run was trained; "
                "or make it a file with {} in it, to use the run without checks",
            ) from None
