"""Sentence pairs out of lines: aligned files, TSV, JSON Lines; and which of them to keep."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, NamedTuple

from peluche.data.readers import display_name, read_lines
from peluche.errors import DataError, did_you_mean

Empty = Literal["skip", "keep", "error"]
NOT_A_WORD = re.compile(r"[\W_]+")


class Pair(NamedTuple):
    """A sentence and its counterpart; `where` says where they stand, e.g. ``train.en:17``."""

    source: str
    target: str
    where: str


@dataclass
class SkipReport:
    """Counts the pairs that a reader left out because a side was empty."""

    empty: int = 0
    first: str | None = None

    def add(self, where: str) -> None:
        """Count one pair."""
        self.empty += 1
        self.first = self.first or where

    def __str__(self) -> str:
        if not self.empty:
            return "no pair skipped"
        plural = "pair" if self.empty == 1 else "pairs"
        return f"skipped {self.empty:,} {plural} with an empty side (the first: {self.first})"


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


def tsv_pairs(
    path: Path, columns: Sequence[int | str] = (0, 1), encoding: str = "utf-8"
) -> Iterator[Pair]:
    """Two columns of a tab-separated file without quoting.

    Args:
        path: the file.
        columns: source and target column; numbers count from 0, names are looked up in the first
            row, which then is a header.
        encoding: of the file.

    Raises:
        DataError: if a row has too few columns or the header lacks a name, and as `read_lines`.
    """
    name = display_name(path)
    numbers = [column for column in columns if isinstance(column, int)]
    for number, line in enumerate(read_lines(path, encoding), start=1):
        where = f"{name}:{number}"
        row = line.split("\t")
        if not numbers:
            numbers = [_column(str(column), row, where) for column in columns]
        elif not line.strip():
            yield Pair("", "", where)
        elif len(row) <= max(numbers):
            raise DataError(
                f"the row has {len(row)} of the {max(numbers) + 1} columns that are needed",
                where=where,
                remedy="columns are separated by one tab; choose others with columns: [0, 1] "
                "(counted from 0)",
            )
        else:
            yield Pair(row[numbers[0]], row[numbers[1]], where)


def _column(column: str, header: list[str], where: str) -> int:
    if column not in header:
        raise DataError(
            f"the header has no column '{column}'", where=where, remedy=did_you_mean(column, header)
        )
    return header.index(column)


def jsonl_pairs(
    path: Path, fields: Sequence[str] = ("source", "target"), encoding: str = "utf-8"
) -> Iterator[Pair]:
    """Two text fields of a file with one JSON object a line.

    Args:
        path: the file.
        fields: source and target field; a dot leads into an inner object (``translation.en``).
        encoding: of the file.

    Raises:
        DataError: if a line is not a JSON object, a field is missing or not text, and as
            `read_lines`.
    """
    name = display_name(path)
    for number, line in enumerate(read_lines(path, encoding), start=1):
        where = f"{name}:{number}"
        if not line.strip():
            yield Pair("", "", where)
            continue
        record = _parse(line, where)
        yield Pair(_text(record, fields[0], where), _text(record, fields[1], where), where)


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


def _text(record: Any, field: str, where: str) -> str:
    value = record
    for part in field.split("."):
        if not isinstance(value, dict) or part not in value:
            known = value if isinstance(value, dict) else {}
            remedy = did_you_mean(part, known) if known else "choose with fields: [source, target]"
            raise DataError(f"the object has no field '{field}'", where=where, remedy=remedy)
        value = value[part]
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


def select(
    pairs: Iterable[Pair],
    *,
    empty: Empty = "skip",
    share: tuple[float, float] = (0.0, 1.0),
    limit: int | None = None,
    skipped: SkipReport | None = None,
) -> Iterator[Pair]:
    """The pairs to use, in their order.

    Args:
        pairs: all of them.
        empty: what to do with a pair of which a side is empty or blank.
        share: keep the pairs whose `position` of the source lies in this half-open interval.
        limit: stop after this many.
        skipped: counts the pairs that were left out for an empty side.

    Raises:
        DataError: if nothing is left, or at an empty side if `empty` is ``"error"``.
    """
    skipped = skipped if skipped is not None else SkipReport()
    read = given = 0
    for pair in pairs:
        read += 1
        if share != (0.0, 1.0) and not share[0] <= position(pair.source) < share[1]:
            continue
        if empty != "keep" and not (pair.source.strip() and pair.target.strip()):
            if empty == "error":
                raise DataError("a side of the pair is empty", where=pair.where)
            skipped.add(pair.where)
            continue
        yield pair
        given += 1
        if given == limit:
            return
    if not given:
        raise DataError(
            "the corpus is empty" if not read else f"none of {read:,} pairs is left to use",
            where=skipped if skipped.empty else None,
            remedy="check the path and the split" if not read else "check slice and empty lines",
        )


def position(text: str, salt: str = "") -> float:
    """A sentence's place in [0, 1): a hash, the same on every machine.

    Case, punctuation and spaces do not count, so "Run!" and "Run." stand at one place and a split
    by intervals cannot part them.
    """
    key = NOT_A_WORD.sub("", text.casefold()) or text
    digest = hashlib.blake2b(f"{salt}\0{key}".encode(), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48  # 48 bits: exact as a float, and never rounded up to 1
