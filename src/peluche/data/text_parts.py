"""Sources of plain texts in parts that several processes read side by side."""

from __future__ import annotations

import glob
import sys
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from peluche.data.locate import data_folders, found
from peluche.data.readers import missing_file
from peluche.data.selection import Selection, SkipReport
from peluche.errors import DataError, MissingExtraError

# Bytes of a file, as it lies on the disk, that are read by one process at a time.
PART = 1 << 26


class PlainText(NamedTuple):
    """A text, and where it stands, e.g. ``train.txt:17``."""

    text: str
    where: str

    @property
    def texts(self) -> tuple[str, ...]:
        """The text."""
        return (self.text,)


class Part(NamedTuple):
    """A file, or a stretch of one.

    Attributes:
        path: of the file.
        size: its bytes on the disk, about.
        start, end: of the stretch, in bytes, row groups or rows, as the kind of source has it; end
            is None for the whole file.
    """

    path: str
    size: int
    start: int = 0
    end: int | None = None


class Texts(Selection):
    """A source of plain texts, which can be read in parts.

    The parts depend on the files and on their order alone. A source with a limit is one part.
    """

    def read(self, skipped: SkipReport | None = None) -> Iterator[PlainText]:
        """The texts, streaming.

        Args:
            skipped: counts those left out because they are empty.

        Raises:
            DataError: at the first thing that is wrong, with its place; or if nothing is left.
        """
        parts = self._parts(sys.maxsize)
        return self.select(chain.from_iterable(map(self._texts, parts)), skipped)

    def read_parts(self, parts: Iterable[Part], skipped: SkipReport) -> Iterator[PlainText]:
        """The texts of some parts, streaming; there may be none. Errors as `read`."""
        texts = chain.from_iterable(map(self._texts, parts))
        return self.select(texts, skipped, some=False)

    def plan(self, size: int = PART) -> list[list[Part]]:
        """What is read at a time: each a stretch of a file, or some small files.

        Raises:
            DataError: there is no such file.
        """
        parts = self._parts(size)
        if self.limit is not None:
            return [parts]
        groups: list[list[Part]] = []
        room = 0
        for part in parts:
            if not groups or part.size > room:
                groups.append([])
                room = size
            groups[-1].append(part)
            room -= part.size
        return groups

    def state(self) -> list[Any]:
        """What tells that the source has changed: names, sizes and times of its files.

        Raises:
            DataError: there is no such file.
        """
        found = []
        for path in dict.fromkeys(part.path for part in self._parts(sys.maxsize)):
            if not Path(path).exists():
                raise missing_file(Path(path))
            about = Path(path).stat()
            found.append([path, about.st_size, about.st_mtime_ns])
        return found

    @abstractmethod
    def _parts(self, size: int) -> list[Part]:
        """All files in order, those of more than `size` bytes in stretches if that is possible."""

    @abstractmethod
    def _texts(self, part: Part) -> Iterator[PlainText]:
        """The texts of a part, before selection."""


def matching(path: Path) -> list[Path]:
    """The files that a path with ``*``, ``?``, ``[…]`` or ``**`` means, by name; else itself.

    A relative pattern that fits nothing is looked for where the catalogue's files are.

    Raises:
        DataError: no file fits.
    """
    pattern = str(path)
    if not glob.has_magic(pattern) or path.exists():
        return [found(path)]
    folders = [Path()] if path.is_absolute() else [Path(), *data_folders()]
    for folder in folders:
        names = sorted(glob.glob(str(folder / path), recursive=True))
        if files := [Path(name) for name in names if Path(name).is_file()]:
            return files
    raise DataError(
        f"no file fits '{pattern}'",
        where=Path.cwd(),
        remedy="check the pattern, and quote it so that the shell leaves it alone",
    )


def stretches(count: int, most: int) -> Iterator[tuple[int, int]]:
    """Numbers 0 to `count` in runs of at most `most`; one empty run if there are none."""
    for start in range(0, max(1, count), max(1, most)):
        yield start, min(count, start + max(1, most))


def file_size(path: Path) -> int:
    """Bytes of a file; none where it is not there, which is said when it is read."""
    return path.stat().st_size if path.is_file() else 0


def needs(what: str, package: str, extra: str) -> MissingExtraError:
    """The error for a package that is not installed."""
    return MissingExtraError(
        f"{what} needs {package}, which is not installed",
        remedy=f"pip install 'peluche[{extra}]'",
    )
