"""Plain texts out of text files and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import model_validator

from peluche.data.readers import can_be_cut, display_name, read_lines
from peluche.data.rows import READERS, SUFFIXES, jsonl_rows
from peluche.data.sources import Encoding
from peluche.data.text_parts import (
    Part,
    PlainText,
    Texts,
    file_size,
    matching,
    stretches,
)
from peluche.errors import DataError

CAN_BE_CUT = ("lines", "jsonl")


class TextFile(Texts):
    """The lines of files, one column of tables, or each file as one text; plain or gzip.

    Attributes:
        kind: lines; tsv without quoting, csv with it, or jsonl, whose columns are fields; document
            for the whole file as one text.
        path: of a file, or of many: ``shards/*.jsonl.gz``. A relative one that is not there is
            looked for where the catalogue's files are, in PELUCHE_DATA and the cache.
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

    def _parts(self, size: int) -> list[Part]:
        parts = []
        for path in matching(self.path):
            count = file_size(path)
            if self.kind in CAN_BE_CUT and count > size and can_be_cut(path, self.encoding):
                ends = stretches(count, size)
                parts += [Part(str(path), end - start, start, end) for start, end in ends]
            else:
                parts.append(Part(str(path), count))
        return parts

    def _texts(self, part: Part) -> Iterator[PlainText]:
        path = Path(part.path)
        if part.end is None:
            yield from self._all(path)
            return
        try:
            yield from self._all(path, (part.start, part.end))
        except DataError:
            for _ in self._all(path):
                pass  # raises the same with the number of the line in the file
            raise

    def _all(self, path: Path, stretch: tuple[int, int] | None = None) -> Iterator[PlainText]:
        name = display_name(path)
        if self.kind == "document":
            text = "\n".join(read_lines(path, self.encoding)) + "\n"
            low, high = (int(len(text) * share) for share in self.part)
            yield PlainText(text[low:high], name)
        elif self.kind == "lines":
            lines = read_lines(path, self.encoding, stretch)
            for number, line in enumerate(lines, start=1):
                yield PlainText(line, f"{name}:{number}")
        elif self.kind == "jsonl":
            fields = [str(self.text)]
            for (text,), where in jsonl_rows(path, fields, self.encoding, stretch=stretch):
                yield PlainText(text, where)
        else:
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
