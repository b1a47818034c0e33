"""Sentence pairs out of lines: aligned files, tables, JSON Lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Literal, NamedTuple

from peluche.data.readers import display_name, read_lines
from peluche.data.rows import READERS, jsonl_rows
from peluche.errors import DataError


class Pair(NamedTuple):
    """A sentence and its counterpart; `where` says where they stand, e.g. ``train.en:17``."""

    source: str
    target: str
    where: str

    @property
    def texts(self) -> tuple[str, str]:
        """Both sides."""
        return self.source, self.target


def aligned_pairs(source: Path, target: Path, encoding: str = "utf-8") -> Iterator[Pair]:
    """Pair line n of `source` with line n of `target`.

    Raises:
        DataError: if one file has more lines than the other, and as `read_lines`.
    """
    left, right = read_lines(source, encoding), read_lines(target, encoding)
    name = display_name(source)
    for number, (one, other) in enumerate(zip_longest(left, right), start=1):
        if one is None or other is None:
            counts = [number - (side is None) for side in (one, other)]
            counts = [
                n + sum(1 for _ in rest) for n, rest in zip(counts, (left, right), strict=True)
            ]
            raise _unequal([source, target], counts)
        yield Pair(one, other, f"{name}:{number}")


def _unequal(paths: Sequence[Path], counts: Sequence[int]) -> DataError:
    longer = paths[counts.index(max(counts))]
    return DataError(
        "the files are not aligned: "
        + ", ".join(
            f"{path} has {count:,} line{'s' * (count != 1)}"
            for path, count in zip(paths, counts, strict=True)
        ),
        where=f"{display_name(longer)}:{min(counts) + 1} is the first line without a counterpart",
        remedy="line n of one must translate line n of the other; look for a cut-off file, or a "
        "sentence that was split in two",
    )


def table_pairs(
    path: Path,
    columns: Sequence[int | str] = (0, 1),
    encoding: str = "utf-8",
    kind: Literal["tsv", "csv"] = "tsv",
) -> Iterator[Pair]:
    """Source and target column of a table, see `tsv_rows` and `csv_rows`."""
    rows = READERS[kind](path, columns, encoding)
    return (Pair(row.values[0], row.values[1], row.where) for row in rows)


def jsonl_pairs(
    path: Path, fields: Sequence[str] = ("source", "target"), encoding: str = "utf-8"
) -> Iterator[Pair]:
    """Source and target field of a file with one JSON object a line, see `jsonl_rows`."""
    return (
        Pair(row.values[0], row.values[1], row.where) for row in jsonl_rows(path, fields, encoding)
    )
