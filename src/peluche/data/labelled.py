"""Texts with a label: one configuration per kind of source, each with `read`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from peluche.data.catalogue import LinesVariant, find_entry
from peluche.data.from_catalogue import FromCatalogue
from peluche.data.locate import provide
from peluche.data.readers import display_name, read_lines
from peluche.data.rows import READERS
from peluche.data.selection import Selection, SkipReport
from peluche.data.sources import Encoding
from peluche.errors import ConfigError, DataError

TEXT_FILES = (".txt", ".text", ".md")


class LabelledText(NamedTuple):
    """A text, or a pair of texts, and what it is called.

    Attributes:
        text: the text, or the first of two.
        label: its class.
        second: the other text of a pair, such as a hypothesis that may follow from a premise.
        where: the place, e.g. ``train.tsv:17``.
    """

    text: str
    label: str
    where: str
    second: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The text, and the second of a pair."""
        return (self.text,) if self.second is None else (self.text, self.second)

    @property
    def labels(self) -> tuple[str]:
        """The label."""
        return (self.label,)


class _TextSource(Selection):
    """What every source of labelled texts has.

    Attributes:
        names: what labels are called, in place of what the file says, e.g. ``{"0": negative}``.
    """

    names: Mapping[str, str] = Field(default_factory=dict)

    def read(self, skipped: SkipReport | None = None) -> Iterator[LabelledText]:
        """The texts, streaming.

        Args:
            skipped: counts those left out because they are empty.

        Raises:
            DataError: at the first thing that is wrong, with its place; or if nothing is left.
        """
        for example in self.select(self.examples(), skipped):
            if not example.label.strip():
                raise DataError(
                    "the text has no label",
                    where=example.where,
                    remedy="give it one, or leave the line out",
                )
            yield example

    def examples(self) -> Iterator[LabelledText]:
        """All texts, before selection."""
        for example in self._texts():
            yield example._replace(label=self.names.get(example.label, example.label))

    @abstractmethod
    def _texts(self) -> Iterator[LabelledText]:
        """All texts, labelled as the file says."""


class TableTexts(_TextSource):
    """Columns of a table, by number from 0 or by name in a header row; plain or gzip.

    Attributes:
        kind: tsv without quoting, csv with it, or jsonl, whose columns are fields.
        text: the column of the text; several are joined by a space (a title and a body).
        second: the column of the other text, for pairs.
        label: the column of the label.
    """

    kind: Literal["tsv", "csv", "jsonl"]
    path: Path
    text: int | str | tuple[int | str, ...] = 0
    second: int | str | None = None
    label: int | str = 1
    encoding: Encoding = "utf-8"

    @model_validator(mode="after")
    def _columns_are_numbers_or_names(self) -> Self:
        kinds = {isinstance(column, int) for column in self._columns()}
        if len(kinds) > 1:
            raise ValueError("columns must be all numbers, counted from 0, or all names")
        if self.kind == "jsonl" and kinds == {True}:
            raise ValueError("the columns of jsonl are fields: text: text, label: label")
        return self

    def _columns(self) -> list[int | str]:
        text = self.text if isinstance(self.text, tuple) else (self.text,)
        return [*text, *([] if self.second is None else [self.second]), self.label]

    def _texts(self) -> Iterator[LabelledText]:
        options = {"numbers": [self.label]} if self.kind == "jsonl" else {}
        for values, where in READERS[self.kind](
            self.path, self._columns(), self.encoding, **options
        ):
            *texts, label = values
            second = texts.pop() if self.second is not None else None
            # A blank line has no label, and no text that could lack one.
            yield LabelledText(" ".join(texts), label.strip(), where, second)


class LabelFirstTexts(_TextSource):
    """Lines of a label, a space and a text, as in TREC and fastText.

    Attributes:
        prefix: what labels begin with in the file and not in peluche, e.g. ``__label__``.
        coarse: keep what stands before the colon of a label such as ``NUM:date``.
    """

    kind: Literal["label_first"] = "label_first"
    path: Path
    prefix: str = ""
    coarse: bool = False
    encoding: Encoding = "utf-8"

    def _texts(self) -> Iterator[LabelledText]:
        name = display_name(self.path)
        for number, line in enumerate(read_lines(self.path, self.encoding), start=1):
            where = f"{name}:{number}"
            label, _, text = line.partition(" ")
            if line.strip() and not label.startswith(self.prefix):
                raise DataError(
                    f"the line does not begin with '{self.prefix}'",
                    where=where,
                    remedy="write the label first, then a space and the text",
                )
            label = label.removeprefix(self.prefix)
            yield LabelledText(text, label.split(":")[0] if self.coarse else label, where)


class FolderTexts(_TextSource):
    """A folder with one folder per label, and in it one text file per example."""

    kind: Literal["folders"] = "folders"
    path: Path
    encoding: Encoding = "utf-8"

    def _texts(self) -> Iterator[LabelledText]:
        if not self.path.is_dir():
            raise DataError(f"there is no folder {self.path}", remedy="check the path")
        labels = sorted(entry for entry in self.path.iterdir() if entry.is_dir())
        if not labels:
            raise DataError(
                f"{self.path} holds no folders",
                remedy="make one folder per label and put the text files into them",
            )
        for folder in labels:
            for file in sorted(folder.iterdir()):
                if file.suffix in TEXT_FILES:
                    lines = read_lines(file, self.encoding)
                    where = f"{folder.name}/{file.name}"
                    yield LabelledText("\n".join(lines), folder.name, where)


class LinesTexts(_TextSource):
    """Files of which every line has the same label.

    Attributes:
        files: the file of each label.
    """

    kind: Literal["lines"] = "lines"
    files: Mapping[str, Path]
    encoding: Encoding = "utf-8"

    def _texts(self) -> Iterator[LabelledText]:
        return _labelled_lines(self.files, self.encoding)


FileTexts = Annotated[
    TableTexts | LabelFirstTexts | FolderTexts | LinesTexts, Field(discriminator="kind")
]


class CatalogueTexts(FromCatalogue, _TextSource):
    """Labelled texts of the catalogue."""

    gives = "texts"

    def _texts(self) -> Iterator[LabelledText]:
        return self.of_file(FileTexts)


class LanguageTexts(_TextSource):
    """The sentences of aligned files of the catalogue, labelled by their language.

    Attributes:
        name: of the entry.
        languages: which of them; all that the split has if not given.
        split: train, validation or test.
        variant: of the entry; its first without it.
    """

    kind: Literal["languages"] = "languages"
    name: str
    languages: tuple[str, ...] = ()
    split: str = "train"
    variant: str | None = None

    @model_validator(mode="after")
    def _the_catalogue_has_it(self) -> Self:
        try:
            self._variant()
        except ConfigError as error:
            raise ValueError(f"{error.what}; {error.remedy}") from None
        return self

    def _variant(self) -> LinesVariant:
        entry = find_entry(self.name)
        variant = entry.variant(self.variant, self.split, self.languages, "pairs")
        if not isinstance(variant, LinesVariant):
            raise ConfigError(
                f"{self.name} has no file for each language", remedy="choose another corpus"
            )
        return variant

    def _texts(self) -> Iterator[LabelledText]:
        variant = self._variant()
        languages = self.languages or variant.languages(self.split)
        paths = variant.paths(self.split, languages)
        files = {
            language: provide(self.name, path)
            for language, path in zip(languages, paths, strict=True)
        }
        return _labelled_lines(files, "utf-8")


class TogetherTexts(_TextSource):
    """Several sources with the same labels, one after the other.

    Attributes:
        sources: each with its own selection; this source's comes after theirs.
    """

    kind: Literal["together"] = "together"
    sources: tuple[TextSource, ...] = Field(min_length=1)

    def _texts(self) -> Iterator[LabelledText]:
        for source in self.sources:
            yield from source.read()


TextSource = Annotated[
    TableTexts
    | LabelFirstTexts
    | FolderTexts
    | LinesTexts
    | CatalogueTexts
    | LanguageTexts
    | TogetherTexts,
    Field(discriminator="kind"),
]
TogetherTexts.model_rebuild()


def _labelled_lines(files: Mapping[str, Path], encoding: str) -> Iterator[LabelledText]:
    for label, path in files.items():
        name = display_name(path)
        for number, line in enumerate(read_lines(path, encoding), start=1):
            yield LabelledText(line, label, f"{name}:{number}")
