"""The files of a folder, such as source code, each as one text."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from pydantic import Field

from peluche.data.locate import found
from peluche.data.readers import read_text
from peluche.data.text_parts import Part, PlainText, Texts, file_size
from peluche.errors import DataError

IGNORED = (".*", "__pycache__", "node_modules", "vendor", "build", "dist", "*.min.js", "*.lock")


class CodeFolder(Texts):
    """All files in a folder and in those below it, by name; links are not followed.

    Files that hold a NUL byte or are not UTF-8 are taken for binaries and count as empty.

    Attributes:
        path: the folder.
        include: patterns of which the file's name fits one.
        exclude: patterns of names of files and folders to pass over.
        max_bytes: larger files are passed over.
    """

    kind: Literal["code"] = "code"
    path: Path
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = IGNORED
    max_bytes: int = Field(1_000_000, gt=0)

    def _parts(self, size: int) -> list[Part]:
        root = found(self.path)
        if not root.is_dir():
            raise DataError(f"there is no folder {root}", remedy="check the path")
        parts = []
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if not _fits(name, self.exclude))
            for name in sorted(names):
                path = Path(folder, name)
                if not _fits(name, self.include) or _fits(name, self.exclude) or path.is_symlink():
                    continue
                if path.is_file() and (count := file_size(path)) <= self.max_bytes:
                    parts.append(Part(str(path), count))
        if not parts:
            patterns = " ".join(self.include)
            raise DataError(
                f"no file in the folder fits {patterns}, is not excluded, and has at most "
                f"{self.max_bytes:,} bytes",
                where=root,
                remedy="name another folder; in a recipe, include, exclude and max_bytes say which "
                "files are read",
            )
        return parts

    def _texts(self, part: Part) -> Iterator[PlainText]:
        try:
            text = read_text(part.path)
        except DataError as error:
            if not isinstance(error.__context__, UnicodeDecodeError):
                raise
            text = ""
        where = str(Path(part.path).relative_to(found(self.path)))
        yield PlainText("" if "\0" in text else text, where)


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
