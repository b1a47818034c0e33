"""Public corpora by name: what they are, where they come from, how they are checked and split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from peluche.config import Config, parse_yaml
from peluche.data.pairs import Pair, aligned_pairs, table_pairs
from peluche.data.selection import E, position
from peluche.errors import ConfigError, did_you_mean

Gives = Literal["pairs", "texts", "sentences", "questions", "lines"]

# Keeps the splits of an entry independent of the `slice` that a source may take of one.
SALT = "catalogue"


class RemoteFile(Config):
    """One file of an entry.

    Attributes:
        path: below the entry's folder.
        url: what to download, relative to the entry's `url`; None for a file that has to be put in
            place by hand, as the entry's note says.
        bytes: length of the download.
        sha256: of the download; None where upstream changes it.
        member: the file inside a downloaded zip archive that becomes `path`.
    """

    path: str
    url: str | None = None
    bytes: int | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    member: str | None = None


class LinesSplit(Config):
    """A split that is one file a language; `path` contains ``{language}``."""

    examples: int
    path: str
    languages: tuple[str, ...]


class LinesVariant(Config):
    """Aligned files."""

    kind: Literal["lines"]
    gives: Literal["pairs"] = "pairs"
    splits: dict[str, LinesSplit]

    def languages(self, split: str) -> tuple[str, ...]:
        """The languages that a split has."""
        return self.splits[split].languages

    def paths(self, split: str, languages: Sequence[str]) -> list[str]:
        """The files that hold a split, one for each of the languages."""
        return [self.splits[split].path.format(language=language) for language in languages]

    def pairs(self, paths: Sequence[Path], split: str, languages: Sequence[str]) -> Iterator[Pair]:
        """The pairs of a split out of the files of `paths`."""
        return aligned_pairs(paths[0], paths[1])


class TableSplit(Config):
    """The rows whose key sentence has its `position` in `slice`."""

    examples: int
    slice: tuple[float, float]


class TableVariant(Config):
    """One tab-separated file, split by a hash of the sentence in the language `key`."""

    kind: Literal["table"]
    gives: Literal["pairs"] = "pairs"
    path: str
    columns: dict[str, int]
    key: str
    splits: dict[str, TableSplit]

    def languages(self, split: str) -> tuple[str, ...]:
        """The languages that a split has."""
        return tuple(self.columns)

    def paths(self, split: str, languages: Sequence[str]) -> list[str]:
        """The file that holds all splits."""
        return [self.path]

    def pairs(self, paths: Sequence[Path], split: str, languages: Sequence[str]) -> Iterator[Pair]:
        """The pairs of a split out of the file of `paths`."""
        low, high = self.splits[split].slice
        key = languages.index(self.key)
        for pair in table_pairs(paths[0], [self.columns[language] for language in languages]):
            if low <= position(pair[key], SALT) < high:
                yield pair


class FileSplit(Config):
    """The examples of one file, or those whose first text has its `position` in `slice`."""

    examples: int
    path: str
    slice: tuple[float, float] = (0.0, 1.0)


class FileVariant(Config):
    """One file a split, read by a source of another room.

    Attributes:
        gives: labelled texts, annotated sentences, questions about texts, or lines of another form.
        source: the source's configuration without its `path`.
    """

    kind: Literal["file"]
    gives: Literal["texts", "sentences", "questions", "lines"]
    source: Mapping[str, Any] = Field(default_factory=dict)
    splits: dict[str, FileSplit]

    def languages(self, split: str) -> tuple[str, ...]:
        """None to choose from."""
        return ()

    def paths(self, split: str, languages: Sequence[str] = ()) -> list[str]:
        """The file that holds a split."""
        return [self.splits[split].path]

    def of_split(self, split: str, examples: Iterable[E]) -> Iterator[E]:
        """Those of a file's examples that are in the split."""
        low, high = self.splits[split].slice
        whole = (low, high) == (0.0, 1.0)
        return (
            example
            for example in examples
            if whole or low <= position(example.texts[0], SALT) < high
        )


Variant = LinesVariant | TableVariant | FileVariant


class Entry(Config):
    """One corpus of the catalogue."""

    title: str
    about: str
    homepage: str
    languages: tuple[str, ...]
    licence: str
    note: str
    citation: str
    url: str
    variants: dict[str, Annotated[Variant, Field(discriminator="kind")]]
    files: tuple[RemoteFile, ...]

    @model_validator(mode="after")
    def _files_are_listed(self) -> Self:
        listed = {file.path for file in self.files}
        for variant in self.variants.values():
            for split in variant.splits:
                missing = set(variant.paths(split, variant.languages(split))) - listed
                if missing:
                    raise ValueError(f"files without an address: {sorted(missing)}")
        return self

    def variant(
        self,
        name: str | None,
        split: str,
        languages: Sequence[str] = (),
        gives: Gives | None = None,
    ) -> Variant:
        """The variant called `name`, once it is sure that it has what is asked.

        Args:
            name: None for the first that gives what is wanted.
            split, languages: that it has to have.
            gives: the kind of examples that is wanted; None for any.

        Raises:
            ConfigError: if there is no such variant, split or language, or if it gives examples
                of another kind.
        """
        if name is None:
            fitting = [key for key, one in self.variants.items() if gives in (None, one.gives)]
            name = next(iter(fitting or self.variants))
        chosen = self.variants[_known("variant", name, self.variants)]
        if gives not in (None, chosen.gives):
            raise ConfigError(
                f"the variant '{name}' gives {chosen.gives}, not {gives}",
                remedy="choose a corpus for this task: peluche data list says what each gives",
            )
        _known("split", split, chosen.splits)
        for language in languages:
            _known("language", language, chosen.languages(split))
        return chosen


def _known(what: str, name: str, known: Sequence[str] | dict[str, Any]) -> str:
    if name not in known:
        raise ConfigError(f"no {what} '{name}' here", remedy=did_you_mean(name, known))
    return name


@cache
def catalogue() -> dict[str, Entry]:
    """All entries by name."""
    text = resources.files("peluche.data").joinpath("catalogue.yaml").read_text(encoding="utf-8")
    return {
        name: Entry.parse(values, where=f"catalogue.yaml: {name}")
        for name, values in parse_yaml(text).items()
    }


def find_entry(name: str) -> Entry:
    """The entry called `name`.

    Raises:
        ConfigError: if there is none.
    """
    return catalogue()[_known("catalogue entry", name, catalogue())]
