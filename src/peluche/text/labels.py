"""Names of classes and their numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

from peluche import files
from peluche.errors import CheckpointError, DataError, did_you_mean


class Labels(Sequence[str]):
    """The labels that a model knows, in the order of its outputs.

    Raises:
        DataError: there are none, or one is there twice.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)
        self._numbers = {name: number for number, name in enumerate(self._names)}
        if not self._names:
            raise DataError("there are no labels", remedy="give labelled examples")
        if len(self._numbers) < len(self._names):
            raise DataError("a label is there twice", remedy="name every label once")

    @classmethod
    def of(cls, examples: Iterable[str]) -> Labels:
        """All labels that occur, sorted."""
        return cls(sorted(set(examples)))

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, number: int) -> str:  # type: ignore[override]
        return self._names[number]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def number(self, name: str, where: str | None = None) -> int:
        """The number of a label.

        Raises:
            DataError: it was never seen in training.
        """
        number = self._numbers.get(name)
        if number is None:
            raise DataError(
                f"the label '{name}' was never seen in training",
                where=where,
                remedy=did_you_mean(name, self._names),
            )
        return number

    def save(self, path: Path) -> None:
        """Write a JSON file."""
        files.write_text(path, json.dumps(self._names, ensure_ascii=False, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            CheckpointError: it is not a list of names.
        """
        try:
            names = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"cannot read the labels: {error}", where=path) from None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise CheckpointError("the labels are not a list of names", where=path)
        return cls(names)
