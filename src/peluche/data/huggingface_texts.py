"""Texts out of data sets that the `datasets` library reads: from its hub, or from a folder."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from peluche.data.text_parts import Part, PlainText, Texts, needs, stretches
from peluche.errors import DataError, did_you_mean

ROWS = 1024


class HuggingFaceTexts(Texts):
    """A column of a data set, by name or in a folder; kept in the library's own cache.

    Attributes:
        name: on the hub; or a folder of files, or one that `save_to_disk` wrote.
        config: which of a data set's configurations, if it has several.
        split: which part of it.
        text: the column.
    """

    kind: Literal["huggingface"] = "huggingface"
    name: str
    config: str | None = None
    split: str = "train"
    text: str = "text"

    def state(self) -> list[Any]:
        return [_open(self.name, self.config, self.split)._fingerprint]

    def _parts(self, size: int) -> list[Part]:
        rows = self._rows()
        per_row = max(1, rows.data.nbytes // max(1, len(rows)))
        return [
            Part(self.name, (end - start) * per_row, start, end)
            for start, end in stretches(len(rows), size // per_row)
        ]

    def _texts(self, part: Part) -> Iterator[PlainText]:
        rows, end = self._rows(), part.end or 0
        for start in range(part.start, end, ROWS):
            block = rows[start : min(end, start + ROWS)][self.text]
            for number, text in enumerate(block, start):
                yield PlainText(text or "", f"{self.name}/{self.split}, row {number}")

    def _rows(self) -> Any:
        rows = _open(self.name, self.config, self.split)
        where = f"{self.name}/{self.split}"
        if self.text not in rows.column_names:
            raise DataError(
                f"the data set has no column '{self.text}'",
                where=where,
                remedy=did_you_mean(self.text, rows.column_names),
            )
        rows = rows.select_columns([self.text])
        kind = getattr(rows.features[self.text], "dtype", "nested")
        if kind not in ("string", "large_string"):
            raise DataError(f"column '{self.text}' is of type {kind}, not text", where=where)
        return rows


@lru_cache(maxsize=4)
def _open(name: str, config: str | None, split: str) -> Any:
    """One split of a data set; no code that it may carry is run.

    Raises:
        MissingExtraError: `datasets` is not installed.
        DataError: it is not there, or has no such split.
    """
    try:
        import datasets
    except ImportError:
        raise needs("a Hugging Face data set", "datasets", "datasets") from None
    saved = Path(name)
    try:
        if not any((saved / file).exists() for file in ("dataset_dict.json", "state.json")):
            return datasets.load_dataset(name, config, split=split)
        found: Any = datasets.load_from_disk(name)
    # Each way to fail has an exception of its own, from that library or from those below it.
    except Exception as error:
        raise DataError(
            f"the data set cannot be read: {' '.join(str(error).split())}",
            where=name if config is None else f"{name}, {config}",
            remedy="check name, config and split, and the connection",
        ) from error
    if isinstance(found, datasets.DatasetDict):
        if split not in found:
            raise DataError(
                f"there is no split '{split}'", where=name, remedy=did_you_mean(split, found)
            )
        return found[split]
    return found
