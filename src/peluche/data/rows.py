"""Rows out of tables: some columns of TSV, CSV or JSON Lines, one row at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from peluche.data.readers import display_name, read_lines
from peluche.errors import DataError, did_you_mean

# Python's csv refuses fields over 128 KiB unless it is told otherwise.
LONGEST_FIELD = 1 << 30

# How tables are told by the end of their name.
SUFFIXES = {".tsv": "tsv", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}


class Row(NamedTuple):
    """The chosen columns of one row, and where it stands, e.g. ``train.tsv:17``.

    A blank line is a row of empty texts.
    """

    values: list[str]
    where: str


def tsv_rows(path: Path, columns: Sequence[int | str], encoding: str = "utf-8") -> Iterator[Row]:
    """Columns of a tab-separated file without quoting.

    Args:
        path: the file.
        columns: numbers count from 0, names are looked up in the first row, which then is a
            header; all numbers or all names.
        encoding: of the file.

    Raises:
        DataError: if a row has too few columns or the header lacks a name, and as `read_lines`.
    """
    name = display_name(path)
    rows = (
        (line.split("\t") if line.strip() else [], f"{name}:{number}")
        for number, line in enumerate(read_lines(path, encoding), start=1)
    )
    return _chosen(rows, columns, "one tab")


def csv_rows(path: Path, columns: Sequence[int | str], encoding: str = "utf-8") -> Iterator[Row]:
    """Columns of a comma-separated file; fields may be quoted, and then hold commas and line ends.

    Arguments and errors as for `tsv_rows`.
    """
    name = display_name(path)
    csv.field_size_limit(LONGEST_FIELD)

    def rows() -> Iterator[tuple[list[str], str]]:
        reader = csv.reader((line + "\n" for line in read_lines(path, encoding)), strict=True)
        first = 1
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                raise DataError(
                    f"not valid CSV: {error}",
                    where=f"{name}:{first}",
                    remedy='a field with a quote in it is written "like ""this"" one"',
                ) from None
            if row is None:
                return
            yield row, f"{name}:{first}"
            first = reader.line_num + 1

    return _chosen(rows(), columns, "one comma")


def jsonl_rows(
    path: Path,
    fields: Sequence[str],
    encoding: str = "utf-8",
    *,
    numbers: Sequence[str] = (),
    stretch: tuple[int, int] | None = None,
) -> Iterator[Row]:
    """Fields of a file with one JSON object a line.

    Args:
        path: the file.
        fields: a dot leads into an inner object (``translation.en``).
        encoding: of the file.
        numbers: the fields that may also be numbers, as labels often are.
        stretch: of the file, as for `read_lines`; places count lines from there.

    Raises:
        DataError: if a line is not a JSON object, a field is missing or not text, and as
            `read_lines`.
    """
    name = display_name(path)
    for number, line in enumerate(read_lines(path, encoding, stretch), start=1):
        where = f"{name}:{number}"
        if not line.strip():
            yield Row([""] * len(fields), where)
            continue
        record = _parse(line, where)
        yield Row([_text(record, field, where, field in numbers) for field in fields], where)


READERS: dict[str, Callable[..., Iterator[Row]]] = {
    "tsv": tsv_rows,
    "csv": csv_rows,
    "jsonl": jsonl_rows,
}


def _chosen(
    rows: Iterator[tuple[list[str], str]], columns: Sequence[int | str], separator: str
) -> Iterator[Row]:
    numbers = [column for column in columns if isinstance(column, int)]
    for row, where in rows:
        if not numbers:
            numbers = [_column(str(column), row, where) for column in columns]
        elif not row:
            yield Row([""] * len(columns), where)
        elif len(row) <= max(numbers):
            raise DataError(
                f"the row has {len(row)} of the {max(numbers) + 1} columns that are needed",
                where=where,
                remedy=f"columns are separated by {separator}; choose others with "
                f"columns: {list(range(len(columns)))} (counted from 0)",
            )
        else:
            yield Row([row[number] for number in numbers], where)


def _column(column: str, header: list[str], where: str) -> int:
    if column not in header:
        raise DataError(
            f"the header has no column '{column}'", where=where, remedy=did_you_mean(column, header)
        )
    return header.index(column)


def _parse(line: str, where: str) -> Any:
    remedy = "write one JSON object a line"
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        place = f"{where}, column {error.colno}"
        raise DataError(f"not valid JSON: {error.msg}", where=place, remedy=remedy) from None
    except RecursionError:
        raise DataError("JSON nested too deeply", where=where, remedy=remedy) from None
    if not isinstance(record, dict):
        raise DataError(f"a JSON {_kind(record)}, not an object", where=where, remedy=remedy)
    return record


def _text(record: Any, field: str, where: str, number: bool) -> str:
    value = record
    for part in field.split("."):
        if not isinstance(value, dict) or part not in value:
            known = value if isinstance(value, dict) else {}
            remedy = did_you_mean(part, known) if known else "choose with fields: [source, target]"
            raise DataError(f"the object has no field '{field}'", where=where, remedy=remedy)
        value = value[part]
    if number and isinstance(value, int | float):
        return json.dumps(value)
    if not isinstance(value, str):
        raise DataError(f"field '{field}' is a {_kind(value)}, not text", where=where)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(
            f"field '{field}' holds half of a character (a lone surrogate)",
            where=where,
            remedy="write characters beyond U+FFFF as two \\u escapes, or as they are",
        ) from None
    return value


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")
