"""Constituency trees in brackets, as in the Penn Treebank."""

from __future__ import annotations

import re
import zipfile
from abc import abstractmethod
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from peluche.data.from_catalogue import FromCatalogue
from peluche.data.readers import display_name, read_lines
from peluche.data.selection import Selection, SkipReport
from peluche.data.sources import Encoding
from peluche.errors import DataError

TOKENS = re.compile(r"[()]|[^()\s]+")
EMPTY_ELEMENT = "-NONE-"


class Tree(NamedTuple):
    """A constituent with its parts; a word has a tag for label and itself for only part."""

    label: str
    children: tuple[Tree | str, ...]

    @property
    def word(self) -> str | None:
        """The word, if this is the tag of one."""
        only = self.children[0]
        return only if isinstance(only, str) else None

    def leaves(self) -> list[tuple[str, str]]:
        """(word, tag) in order."""
        if self.word is not None:
            return [(self.word, self.label)]
        return [
            leaf for child in self.children if isinstance(child, Tree) for leaf in child.leaves()
        ]

    def __str__(self) -> str:
        return f"({self.label} {' '.join(map(str, self.children))})"


class BracketedSentence(NamedTuple):
    """A tree and where it stands."""

    tree: Tree
    where: str

    @property
    def texts(self) -> tuple[str]:
        """The sentence, its tokens apart."""
        return (" ".join(word for word, _ in self.tree.leaves()),)

    @property
    def labels(self) -> list[str]:
        """The labels of all constituents but words' tags."""
        return list(_categories(self.tree))


def _categories(tree: Tree) -> Iterator[str]:
    if tree.word is None:
        yield tree.label
        for child in tree.children:
            if isinstance(child, Tree):
                yield from _categories(child)


class _TreeSource(Selection):
    def read(self, skipped: SkipReport | None = None) -> Iterator[BracketedSentence]:
        """The trees, streaming.

        Raises:
            DataError: at the first thing that is wrong, with its place; or if nothing is left.
        """
        return self.select(self.examples(), skipped)

    @abstractmethod
    def examples(self) -> Iterator[BracketedSentence]:
        """All trees, before selection."""


class BracketedTrees(_TreeSource):
    """Files of bracketed trees: one file, or those in a folder or a zip archive that match.

    Attributes:
        path: of a file, a folder or a .zip.
        files: which files of a folder or archive to read.
        clean: leave out empty elements (-NONE-), and what follows the category of a label (NP-SBJ
            becomes NP), as is usual for parsing.
    """

    kind: Literal["brackets"] = "brackets"
    path: Path
    files: str = "*.mrg"
    clean: bool = True
    encoding: Encoding = "utf-8"

    def examples(self) -> Iterator[BracketedSentence]:
        for name, lines in self._files():
            for tree, where in parse_trees(lines, name):
                kept = clean_tree(tree) if self.clean else tree
                if kept is not None:
                    yield BracketedSentence(kept, where)

    def _files(self) -> Iterator[tuple[str, Iterator[str]]]:
        if self.path.is_dir():
            for file in sorted(self.path.rglob("*")):
                if file.is_file() and fnmatch(file.name, self.files):
                    yield file.name, read_lines(file, self.encoding)
        elif self.path.suffix == ".zip" and self.path.is_file():
            try:
                archive = zipfile.ZipFile(self.path)
            except zipfile.BadZipFile as error:
                raise DataError(
                    f"the archive is damaged ({error})", where=self.path, remedy="copy it again"
                ) from None
            with archive:
                for member in sorted(archive.namelist()):
                    if fnmatch(member.rsplit("/", 1)[-1], self.files):
                        yield member, iter(self._text(archive, member).split("\n"))
        else:
            yield display_name(self.path), read_lines(self.path, self.encoding)

    def _text(self, archive: zipfile.ZipFile, member: str) -> str:
        try:
            return archive.read(member).decode(self.encoding)
        except (UnicodeDecodeError, zipfile.BadZipFile) as error:
            raise DataError(
                f"cannot read this file of the archive: {error}",
                where=member,
                remedy="copy the archive again, or say which encoding it has",
            ) from None


class CatalogueTrees(FromCatalogue, _TreeSource):
    """Bracketed trees of the catalogue."""

    gives = "trees"

    def examples(self) -> Iterator[BracketedSentence]:
        return self.of_file(BracketedTrees)


TreeSource = Annotated[BracketedTrees | CatalogueTrees, Field(discriminator="kind")]


def parse_trees(lines: Iterator[str], name: str) -> Iterator[tuple[Tree, str]]:
    """Trees out of lines, each with the place where it begins.

    Raises:
        DataError: a bracket too many or too few, or a constituent that is empty.
    """
    # Each open constituent: its label (None until it is read) and its parts so far.
    open_: list[tuple[list[str], list[Tree | str]]] = []
    where = f"{name}:1"
    for number, line in enumerate(lines, 1):
        for token in TOKENS.findall(line):
            place = f"{name}:{number}"
            if token == "(":
                if not open_:
                    where = place
                open_.append(([], []))
            elif token == ")":
                if not open_:
                    raise DataError("a bracket closes that was never opened", where=place)
                label, parts = open_.pop()
                if not parts:
                    raise DataError(
                        "a constituent is empty", where=place, remedy="write (TAG word) or (XP ...)"
                    )
                words = sum(isinstance(part, str) for part in parts)
                if words and len(parts) > 1:
                    raise DataError(
                        f"({''.join(label)} ...) holds a word and something else",
                        where=place,
                        remedy="give every word a tag of its own: (TAG word)",
                    )
                tree = Tree("".join(label), tuple(parts))
                if open_:
                    open_[-1][1].append(tree)
                else:
                    yield tree, where
            elif not open_:
                raise DataError(
                    f"'{token}' stands outside all brackets",
                    where=place,
                    remedy="write trees such as (S (NP (PRP I)) (VP (VBP am)))",
                )
            elif not open_[-1][0] and not open_[-1][1]:
                open_[-1][0].append(token)
            else:
                open_[-1][1].append(token)
    if open_:
        raise DataError(
            f"{len(open_)} brackets are not closed at the end of the file",
            where=where,
            remedy="the tree that begins here is cut off",
        )


def clean_tree(tree: Tree) -> Tree | None:
    """Without empty elements, functions and the nameless outer bracket; None if all was empty."""
    if tree.word is not None:
        return None if tree.label == EMPTY_ELEMENT else tree
    children = [clean_tree(child) for child in tree.children if isinstance(child, Tree)]
    kept = tuple(child for child in children if child is not None)
    if not kept:
        return None
    if not tree.label or tree.label in ("ROOT", "TOP"):
        return kept[0] if len(kept) == 1 else Tree("S", kept)
    return Tree(_category(tree.label), kept)


def _category(label: str) -> str:
    """NP of NP-SBJ-1 and NP=2; tags such as -LRB- stay."""
    return label if label.startswith("-") else re.split("[-=|]", label)[0]
