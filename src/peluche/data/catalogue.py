"""Public corpora by name: where they come from, how they are checked, found, split and read.

A file of an entry is looked for in ``$PELUCHE_DATA/NAME/``, then in the cache
(``$PELUCHE_CACHE/data/NAME/``, by default ``~/.cache/peluche/data/NAME/``), then downloaded there.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, model_validator

from peluche.config import Config
from peluche.data.download import download
from peluche.data.pairs import Pair, aligned_pairs, position, tsv_pairs
from peluche.errors import ConfigError, DataError, DownloadError, did_you_mean
from peluche.files import replacing


class RemoteFile(Config):
    """One file of an entry.

    Attributes:
        path: below the entry's folder.
        url: what to download, relative to the entry's `url`.
        bytes: length of the download.
        sha256: of the download; None where upstream changes it.
        member: the file inside a downloaded zip archive that becomes `path`.
    """

    path: str
    url: str
    bytes: int | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    member: str | None = None


class LinesSplit(Config):
    """A split that is one file a language; `path` contains ``{language}``."""

    pairs: int
    path: str
    languages: tuple[str, ...]


class LinesVariant(Config):
    """Aligned files."""

    kind: Literal["lines"]
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

    pairs: int
    slice: tuple[float, float]


class TableVariant(Config):
    """One tab-separated file, split by a hash of the sentence in the language `key`."""

    kind: Literal["table"]
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
        for pair in tsv_pairs(paths[0], [self.columns[language] for language in languages]):
            # The salt keeps this split independent of the `slice` that a source may take of it.
            if low <= position(pair[key], salt="catalogue") < high:
                yield pair


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
    variants: dict[str, Annotated[LinesVariant | TableVariant, Field(discriminator="kind")]]
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
        self, name: str | None, split: str, languages: Sequence[str]
    ) -> LinesVariant | TableVariant:
        """The variant called `name` (None: the first), once it is sure that it has what is asked.

        Raises:
            ConfigError: if there is no such variant, split or language.
        """
        chosen = self.variants[_known("variant", name or next(iter(self.variants)), self.variants)]
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
        for name, values in yaml.safe_load(text).items()
    }


def find_entry(name: str) -> Entry:
    """The entry called `name`.

    Raises:
        ConfigError: if there is none.
    """
    return catalogue()[_known("catalogue entry", name, catalogue())]


def cache_folder() -> Path:
    """Where downloads are kept."""
    chosen = os.environ.get("PELUCHE_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "peluche"


def data_folders() -> list[Path]:
    """The folders in which entries are looked for, in this order.

    Raises:
        DataError: if PELUCHE_DATA is set and not a folder.
    """
    chosen = os.environ.get("PELUCHE_DATA")
    if not chosen:
        return [cache_folder() / "data"]
    if not Path(chosen).is_dir():
        remedy = "set it to the folder that holds the corpora, or unset it"
        raise DataError(f"PELUCHE_DATA is not a folder: {chosen}", remedy=remedy)
    return [Path(chosen), cache_folder() / "data"]


def locate(name: str, path: str, folders: Sequence[Path] | None = None) -> Path | None:
    """A file of the entry `name` on this machine, plain or with ``.gz`` added; None if absent."""
    for folder in data_folders() if folders is None else folders:
        for candidate in (folder / name / path, folder / name / f"{path}.gz"):
            if candidate.is_file():
                return candidate
    return None


def provide(name: str, path: str, *, to: Path | None = None, base_url: str | None = None) -> Path:
    """A file of the entry `name`, downloaded if it is not on this machine.

    Args:
        name: of the entry.
        path: one of its files' paths.
        to: look here only, and download to here; without it, the usual folders and the cache.
        base_url: of a mirror that has the files under the same names as the entry's `url`.

    Raises:
        DownloadError: as `download`, and if an archive does not hold what it should.
    """
    found = locate(name, path, None if to is None else [to])
    if found is not None:
        return found
    entry = find_entry(name)
    file = next(file for file in entry.files if file.path == path)
    url = f"{(base_url or entry.url).rstrip('/')}/{file.url}"
    folder = (cache_folder() / "data" if to is None else to) / name
    if file.member is None:
        return download(url, folder / path, sha256=file.sha256)
    archive = download(url, folder / Path(file.url).name, sha256=file.sha256)
    return _extract(archive, file.member, folder / path)


def _extract(archive: Path, member: str, destination: Path) -> Path:
    """Unpack one member, compressing it if the destination's name says so; drop the archive."""
    try:
        with (
            zipfile.ZipFile(archive) as zipped,
            zipped.open(member) as content,
            replacing(destination) as temporary,
        ):
            opened = gzip.open if destination.suffix == ".gz" else open
            with opened(temporary, "wb") as stream:
                shutil.copyfileobj(content, stream)
    except KeyError:
        what = f"the archive has no '{member}'"
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        what = f"the archive is damaged ({error})"
    else:
        archive.unlink()
        return destination
    raise DownloadError(what, where=archive, remedy="delete it and download it again")


def matches(file: RemoteFile, path: Path) -> bool | None:
    """Whether `path` has the bytes that `file` should have; None where that cannot be known."""
    if file.sha256 is None:
        return None
    added_gzip = path.suffix == ".gz" and not file.path.endswith(".gz")
    with gzip.open(path) if added_gzip else path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256
