"""Where pairs come from: one configuration per kind of source, each with `read`.

`Source` is their union, discriminated by `kind`; relative paths are relative to the current
directory.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, model_validator

from peluche.config import parse_as
from peluche.data.catalogue import LinesVariant, TableVariant, catalogue, find_entry
from peluche.data.from_catalogue import FromCatalogue
from peluche.data.locate import found, provide
from peluche.data.pairs import Pair, aligned_pairs, jsonl_pairs, table_pairs
from peluche.data.readers import check_encoding
from peluche.data.rows import SUFFIXES
from peluche.data.selection import Selection, SkipReport
from peluche.errors import DataError, did_you_mean

__all__ = [
    "BuiltinSource",
    "CatalogueSource",
    "JsonlSource",
    "LinesSource",
    "Pair",
    "SkipReport",
    "Source",
    "TsvSource",
    "source_from",
    "source_like",
]


def _known_encoding(encoding: str) -> str:
    try:
        return check_encoding(encoding)
    except DataError as error:
        raise ValueError(f"{error.what}; {error.remedy}") from None


Encoding = Annotated[str, AfterValidator(_known_encoding)]


BUILTIN_SIZE = 10_000


class _PairSource(Selection):
    def read(self, skipped: SkipReport | None = None) -> Iterator[Pair]:
        """The pairs, streaming.

        Args:
            skipped: counts the pairs left out because a side is empty.

        Raises:
            DataError: while reading, at the first thing that is wrong, with its place.
        """
        return self.select(self._pairs(), skipped)

    @abstractmethod
    def _pairs(self) -> Iterator[Pair]:
        """All pairs, before selection."""


class LinesSource(_PairSource):
    """Two files in which line n of one translates line n of the other; plain or gzip."""

    kind: Literal["lines"] = "lines"
    source: Path
    target: Path
    encoding: Encoding = "utf-8"

    def _pairs(self) -> Iterator[Pair]:
        return aligned_pairs(self.source, self.target, self.encoding)


class TsvSource(_PairSource):
    """Two columns of a table, by number from 0 or by name in a header row.

    Attributes:
        kind: tsv without quoting, csv with it.
        path: a relative one that is not there is looked for where the catalogue's files are.
    """

    kind: Literal["tsv", "csv"] = "tsv"
    path: Path
    columns: tuple[int | str, int | str] = (0, 1)
    encoding: Encoding = "utf-8"

    @model_validator(mode="after")
    def _columns_are_numbers_or_names(self) -> Self:
        numbers = [column for column in self.columns if isinstance(column, int)]
        if len(numbers) == 1 or any(number < 0 for number in numbers):
            raise ValueError("columns must be two numbers, counted from 0, or two names")
        return self

    def _pairs(self) -> Iterator[Pair]:
        return table_pairs(found(self.path), self.columns, self.encoding, self.kind)


class JsonlSource(_PairSource):
    """Two fields of a file with one JSON object a line; ``translation.en`` goes one level in."""

    kind: Literal["jsonl"] = "jsonl"
    path: Path
    fields: tuple[str, str] = ("source", "target")
    encoding: Encoding = "utf-8"

    def _pairs(self) -> Iterator[Pair]:
        return jsonl_pairs(self.path, self.fields, self.encoding)


class BuiltinSource(_PairSource):
    """The built-in controlled English-French corpus, generated from a seed."""

    kind: Literal["builtin"] = "builtin"
    split: Literal["train", "validation", "test"] = "train"
    size: PositiveInt = BUILTIN_SIZE
    seed: NonNegativeInt = 0

    def _pairs(self) -> Iterator[Pair]:
        from peluche.data.builtin import generate

        for number, (source, target) in enumerate(generate(self.split, self.size, self.seed), 1):
            yield Pair(source, target, f"builtin {self.split}:{number}")


class CatalogueSource(FromCatalogue, _PairSource):
    """A corpus of the catalogue.

    Attributes:
        languages: of the source and the target side, e.g. ``[en, fr]``.
    """

    gives = "pairs"

    languages: tuple[str, str]

    def chosen(self) -> LinesVariant | TableVariant:
        """The variant, once it is sure that it has the languages."""
        entry = find_entry(self.name)
        variant = entry.variant(self.variant, self.split, self.languages, self.gives)
        return cast(LinesVariant | TableVariant, variant)

    def _pairs(self) -> Iterator[Pair]:
        variant = self.chosen()
        paths = [provide(self.name, path) for path in variant.paths(self.split, self.languages)]
        return variant.pairs(paths, self.split, self.languages)


Source = Annotated[
    LinesSource | TsvSource | JsonlSource | BuiltinSource | CatalogueSource,
    Field(discriminator="kind"),
]


def source_from(
    names: Sequence[str],
    split: str | None = None,
    languages: str | None = None,
    variant: str | None = None,
    encoding: str | None = None,
    columns: str | None = None,
    **options: Any,
) -> Source:
    """The source that a command line means: by name, or by the names of files.

    Args:
        names: ``builtin``, a catalogue name, a ``.tsv``, ``.csv`` or ``.jsonl`` file (or one of
            these with ``.gz``), or two aligned files.
        split, variant, encoding: keys of the source's configuration.
        languages: source and target, such as ``en-fr``.
        columns: of a TSV, or the fields of a JSONL file, such as ``0,1``.
        options: further keys of the configuration.

    Raises:
        ConfigError: if an option does not belong to this kind of source.
        DataError: if it cannot be told what is meant.
    """
    options |= {"split": split, "variant": variant, "encoding": encoding}
    values: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    if languages is not None:
        values["languages"] = languages.split("-")
    if columns is not None:
        values["columns"] = [int(c) if c.isdigit() else c for c in columns.split(",")]
    if len(names) == 2:
        values |= {"kind": "lines", "source": names[0], "target": names[1]}
    elif len(names) != 1:
        raise DataError(f"{len(names)} names given", remedy="give one corpus, or two aligned files")
    elif names[0] == "builtin":
        values |= {"kind": "builtin", "size": values.get("limit", BUILTIN_SIZE)}
    elif names[0] in catalogue():
        default = find_entry(names[0]).languages[:2]
        values = {"kind": "catalogue", "name": names[0], "languages": default} | values
    else:
        values |= {"kind": _kind_of_file(Path(names[0])), "path": names[0]}
    if values["kind"] == "jsonl" and "columns" in values:
        values["fields"] = values.pop("columns")
    return cast(Source, parse_as(Source, values, where=" ".join(names)))


def source_like(names: Sequence[str], like: Mapping[str, Any], **options: Any) -> Source:
    """`source_from`, read as a run's own source where nothing else is said.

    Args:
        names: as for `source_from`; none for the source `like` itself.
        like: the configuration of a run's source. Another corpus of the catalogue is read in its
            languages, the same corpus in its variant and split too; a file of the same kind with
            its columns and encoding.
        options: as for `source_from`.
    """
    given = {key: value for key, value in options.items() if value is not None}
    if not names:
        if isinstance(given.get("languages"), str):
            given["languages"] = given["languages"].split("-")
        return cast(Source, parse_as(Source, {**like, **given}, where="the run's data"))
    inherited: dict[str, Any] = {}
    if names[0] in catalogue() and like.get("kind") == "catalogue":
        inherited["languages"] = "-".join(like["languages"])
        if names[0] == like["name"]:
            inherited |= {key: like[key] for key in ("split", "variant") if key in like}
    plain = source_from(names, **(inherited | given))
    keys = {"columns", "fields", "encoding"} - given.keys()
    if plain.kind != like.get("kind") or "columns" in given or plain.kind == "catalogue":
        return plain
    own = {key: value for key, value in like.items() if key in keys}
    return cast(Source, parse_as(Source, {**plain.model_dump(), **own}, where=" ".join(names)))


def _kind_of_file(path: Path) -> str:
    kind = SUFFIXES.get(Path(path.name.removesuffix(".gz")).suffix.lower())
    if kind is not None:
        return kind
    if path.exists():
        raise DataError(
            f"{path} alone is not a corpus of pairs",
            remedy="give the aligned file as well, or a file that ends in .tsv, .csv or .jsonl",
        )
    raise DataError(
        f"no corpus or file is called '{path}'",
        remedy=did_you_mean(str(path), ["builtin", *catalogue()]),
    )
