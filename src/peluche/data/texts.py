"""Plain texts, one configuration per kind of source, each with `read`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from pydantic import model_validator

from peluche.data.locate import found
from peluche.data.readers import display_name, read_lines
from peluche.data.rows import READERS, SUFFIXES
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
    """The lines of a file, one column of a table, or a file as one text; plain or gzip.

    Attributes:
        kind: lines; tsv without quoting, csv with it, or jsonl, whose columns are fields; document
            for the whole file as one text.
        path: a relative one that is not there is looked for where the catalogue's files are, in
            PELUCHE_DATA and the cache.
        text: the column: a number from 0, a name in a header row, or a field.
        part: of a document's characters, from this share of them up to that one.
    """

    kind: Literal["lines", "tsv", "csv", "jsonl", "document"] = "lines"
    path: Path
    text: int | str = "text"
    encoding: Encoding = "utf-8"
    part: tuple[float, float] = (0.0, 1.0)

    @model_validator(mode="after")
    def _part_fits(self) -> Self:
        low, high = self.part
        if not 0 <= low < high <= 1:
            raise ValueError("part must be [from, to] with 0 <= from < to <= 1, such as [0, 0.9]")
        if self.part != (0.0, 1.0) and self.kind != "document":
            raise ValueError(f"part belongs to kind 'document'; cut '{self.kind}' by slice")
        return self

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
        name = display_name(path)
        if self.kind == "document":
            text = "\n".join(read_lines(path, self.encoding)) + "\n"
            low, high = (int(len(text) * share) for share in self.part)
            yield PlainText(text[low:high], name)
            return
        if self.kind == "lines":
            for number, line in enumerate(read_lines(path, self.encoding), start=1):
                yield PlainText(line, f"{name}:{number}")
            return
        for (text,), where in READERS[self.kind](path, [self.text], self.encoding):
            yield PlainText(text, where)


def text_file(path: str, like: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a `TextFile` that a command line names.

    Args:
        like: that of a run's own texts: a file of the same kind is read the same way. Of another
            kind, a table's column is called text, and any other file is one text.
    """
    own = like.get("kind", "lines")
    kind = SUFFIXES.get(Path(path.removesuffix(".gz")).suffix.lower(), "document")
    if kind == own or (kind == "document" and own == "lines"):
        return {"kind": own, "text": like.get("text", "text"), "path": path}
    return {"kind": kind, "path": path}
