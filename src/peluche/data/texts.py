"""Plain texts, one configuration per kind of source, each with `read`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from peluche.data.locate import locate
from peluche.data.readers import display_name, read_lines
from peluche.data.rows import READERS
from peluche.data.selection import Selection, SkipReport
from peluche.data.sources import Encoding


class PlainText(NamedTuple):
    """A text, and where it stands, e.g. ``train.txt:17``."""

    text: str
    where: str

    @property
    def texts(self) -> tuple[str, ...]:
        """The text."""
        return (self.text,)


class TextFile(Selection):
    """The lines of a file, or one column of a table; plain or gzip.

    Attributes:
        kind: lines; tsv without quoting, csv with it, or jsonl, whose columns are fields.
        path: a relative one that is not there is looked for where the catalogue's files are, in
            PELUCHE_DATA and the cache.
        text: the column: a number from 0, a name in a header row, or a field.
    """

    kind: Literal["lines", "tsv", "csv", "jsonl"] = "lines"
    path: Path
    text: int | str = "text"
    encoding: Encoding = "utf-8"

    def read(self, skipped: SkipReport | None = None) -> Iterator[PlainText]:
        """The texts, streaming.

        Args:
            skipped: counts those left out because they are empty.

        Raises:
            DataError: at the first thing that is wrong, with its place; or if nothing is left.
        """
        return self.select(self._texts(), skipped)

    def _texts(self) -> Iterator[PlainText]:
        path = found(self.path)
        if self.kind == "lines":
            name = display_name(path)
            for number, line in enumerate(read_lines(path, self.encoding), start=1):
                yield PlainText(line, f"{name}:{number}")
            return
        for (text,), where in READERS[self.kind](path, [self.text], self.encoding):
            yield PlainText(text, where)


def found(path: Path) -> Path:
    """A path as it is, or below the folders that hold the catalogue's files."""
    if path.exists() or path.is_absolute() or len(path.parts) < 2:
        return path
    return locate(path.parts[0], str(Path(*path.parts[1:]))) or path
