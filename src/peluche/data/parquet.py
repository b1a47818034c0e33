"""Texts out of a column of Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from peluche.data.readers import display_name, missing_file
from peluche.data.text_parts import Part, PlainText, Texts, matching, needs
from peluche.errors import DataError, did_you_mean

ROWS = 1024


class ParquetTexts(Texts):
    """A column of text in Parquet files, read with Arrow; nulls count as empty texts.

    Attributes:
        path: of a file, or of many: ``shards/*.parquet``.
        text: the column.
    """

    kind: Literal["parquet"] = "parquet"
    path: Path
    text: str = "text"

    def _parts(self, size: int) -> list[Part]:
        parts = []
        for path in matching(self.path):
            with _opened(path) as file:
                self._check(file.schema_arrow, path)
                about = file.metadata
                sizes = [about.row_group(n).total_byte_size for n in range(about.num_row_groups)]
            first = 0
            for number in range(len(sizes)):
                if number == len(sizes) - 1 or sum(sizes[first : number + 2]) > size:
                    held = sum(sizes[first : number + 1])
                    parts.append(Part(str(path), held, first, number + 1))
                    first = number + 1
        return parts

    def _texts(self, part: Part) -> Iterator[PlainText]:
        path = Path(part.path)
        name = display_name(path)
        with _opened(path) as file:
            groups = list(range(part.start, part.end or 0))
            row = sum(file.metadata.row_group(number).num_rows for number in range(part.start))
            for batch in file.iter_batches(ROWS, row_groups=groups, columns=[self.text]):
                for text in batch.column(0).to_pylist():
                    yield PlainText(text or "", f"{name}, row {row}")
                    row += 1

    def _check(self, schema: Any, path: Path) -> None:
        import pyarrow

        if self.text not in schema.names:
            raise DataError(
                f"the file has no column '{self.text}'",
                where=path,
                remedy=did_you_mean(self.text, schema.names),
            )
        kind = schema.field(self.text).type
        if pyarrow.types.is_dictionary(kind):
            kind = kind.value_type
        if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
            raise DataError(f"column '{self.text}' is of type {kind}, not text", where=path)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A Parquet file; what Arrow says about a damaged one becomes one clear error."""
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise needs("Parquet", "pyarrow", "parquet") from None
    if not path.exists():
        raise missing_file(path)
    try:
        with ParquetFile(path) as file:
            yield file
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"not a Parquet file, or a damaged one: {reason}",
            where=path,
            remedy="copy or download it again",
        ) from None
