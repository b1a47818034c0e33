"""The files of catalogue entries on this machine: found, or else downloaded.

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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peluche.data.catalogue import Entry, RemoteFile, catalogue, find_entry
from peluche.data.download import download
from peluche.errors import DataError, DownloadError
from peluche.files import replacing

BUILTIN: dict[str, Any] = {
    "name": "builtin",
    "what": "a controlled language, generated",
    "languages": ["en", "fr"],
    "gives": "pairs",
    "examples": {},
    "variants": [],
    "licence": "Apache-2.0",
    "files": 0,
    "files_here": 0,
}


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


def found(path: Path) -> Path:
    """A path as it is, or below the folders that hold the catalogue's files, or downloaded there.

    Raises:
        DataError, DownloadError: a file of the catalogue can not be had.
    """
    if path.exists() or path.is_absolute() or len(path.parts) < 2:
        return path
    name, inside = path.parts[0], str(Path(*path.parts[1:]))
    entry = catalogue().get(name)
    if entry is not None and inside in [file.path for file in entry.files]:
        return provide(name, inside)
    return locate(name, inside) or path


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
    folder = (cache_folder() / "data" if to is None else to) / name
    url = _address(entry, file, base_url)
    if url is None or file.url is None:
        raise DownloadError(
            f"{path} of '{name}' cannot be downloaded, and is not here",
            where=folder / path,
            remedy=f"put it there, or in $PELUCHE_DATA/{name}. {entry.note}",
        )
    if file.member is None:
        return download(url, folder / path, sha256=file.sha256)
    archive = download(url, folder / Path(file.url).name, sha256=file.sha256)
    return _extract(archive, file.member, folder / path)


def _address(entry: Entry, file: RemoteFile, base_url: str | None) -> str | None:
    return None if file.url is None else f"{(base_url or entry.url).rstrip('/')}/{file.url}"


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


def get_file(
    name: str, file: RemoteFile, *, to: Path | None = None, base_url: str | None = None
) -> dict[str, str | None]:
    """Make sure that a file of an entry is here and right.

    Args:
        name, to, base_url: as `provide`.
        file: of the entry.

    Returns:
        `name`, `path`, `url` (None for a file that is put in place by hand), `sha256` (None where
        upstream's cannot be known), and `state`: ``"downloaded"`` or ``"here"``.

    Raises:
        DownloadError: as `provide`, and if the file that is here is not upstream's.
    """
    state = "here" if locate(name, file.path, None if to is None else [to]) else "downloaded"
    path = provide(name, file.path, to=to, base_url=base_url)
    url = _address(find_entry(name), file, base_url)
    if file.sha256 is not None and (found := _sha256(path, file)) != file.sha256:
        raise DownloadError(
            f"the file is not upstream's: SHA-256 is {found}, should be {file.sha256}",
            where=path,
            remedy="move it away and get it again",
        )
    return {"name": name, "path": str(path), "url": url, "sha256": file.sha256, "state": state}


def _sha256(path: Path, file: RemoteFile) -> str:
    """Of the bytes that upstream has: a ``.gz`` that was added here is taken off."""
    added_gzip = path.suffix == ".gz" and not file.path.endswith(".gz")
    with gzip.open(path) if added_gzip else path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def describe() -> list[dict[str, Any]]:
    """One record for each corpus with a name: what it is, and how much of it is here."""
    entries = [
        {
            "name": name,
            "what": entry.about,
            "languages": list(entry.languages),
            "gives": next(iter(entry.variants.values())).gives,
            "examples": {
                split: size.examples
                for split, size in next(iter(entry.variants.values())).splits.items()
            },
            "variants": list(entry.variants),
            "licence": entry.licence,
            "files": len(entry.files),
            "files_here": sum(locate(name, file.path) is not None for file in entry.files),
        }
        for name, entry in catalogue().items()
    ]
    return [BUILTIN, *entries]
