"""Constituency trees in brackets, as in the Penn Treebank."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal, NamedTuple

from peluche.data.readers import display_name, read_lines
from peluche.data.sentences import CHAIN, Sentence, SentenceSelection
from peluche.data.sources import Encoding
from peluche.errors import DataError
from peluche.metrics.parsing import Bracket

TOKENS = re.compile(r"[()]|[^()\s]+")
EMPTY_ELEMENT = "-NONE-"
PUNCTUATION = frozenset((",", ":", "``", "''", "."))


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


class BracketedTrees(SentenceSelection):
    """Files of bracketed trees: one file, or those in a folder or a zip archive that match.

    They are read as sentences with tags and constituents; `tree_of` gives back the trees.

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

    def examples(self) -> Iterator[Sentence]:
        for name, lines in self._files():
            for tree, where in parse_trees(lines, name):
                kept = clean_tree(tree) if self.clean else tree
                if kept is not None:
                    yield sentence_of(kept, where)

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


def sentence_of(tree: Tree, where: str = "") -> Sentence:
    """Tokens, tags and constituents of a tree; a chain of constituents of the same tokens is one.

    The tags of words are no constituents. `tree_of` is the inverse.
    """
    leaves = tree.leaves()
    spans: list[tuple[int, int, str]] = []

    def walk(node: Tree, start: int) -> int:
        if node.word is not None:
            return start + 1
        names = [node.label]
        children = [child for child in node.children if isinstance(child, Tree)]
        while len(children) == 1 and children[0].word is None:
            names.append(children[0].label)
            children = [child for child in children[0].children if isinstance(child, Tree)]
        place = len(spans)
        end = start
        for child in children:
            end = walk(child, end)
        spans.insert(place, (start, end, CHAIN.join(names)))
        return end

    walk(tree, 0)
    return Sentence(
        tokens=[word for word, _ in leaves],
        tags=[tag for _, tag in leaves],
        spans=spans,
        where=where,
    )


def tree_of(
    tokens: Sequence[str], tags: Sequence[str], spans: Sequence[tuple[int, int, str]]
) -> Tree:
    """The tree of constituents that nest; without one of the whole sentence, S is put around.

    Raises:
        DataError: constituents overlap, or there are no tokens.
    """
    if not tokens:
        raise DataError("a tree needs at least one token")
    parts: list[tuple[int, int, Tree]] = [
        (place, place + 1, Tree(tag, (token,)))
        for place, (token, tag) in enumerate(zip(tokens, tags, strict=True))
    ]
    for start, end, label in sorted(spans, key=lambda span: span[1] - span[0]):
        places = [n for n, part in enumerate(parts) if start <= part[0] and part[1] <= end]
        inside = [parts[n] for n in places]
        if not inside or inside[0][0] != start or inside[-1][1] != end:
            raise DataError(
                f"the constituent {label} at {start}:{end} overlaps another",
                remedy="constituents of a tree lie inside one another or apart",
            )
        names = label.split(CHAIN)
        node = Tree(names[-1], tuple(tree for _, _, tree in inside))
        for name in reversed(names[:-1]):
            node = Tree(name, (node,))
        parts[places[0] : places[-1] + 1] = [(start, end, node)]
    if len(parts) == 1:
        return parts[0][2]
    return Tree("S", tuple(tree for _, _, tree in parts))


def brackets_of(tree: Tree) -> list[Bracket]:
    """The constituents that are scored: all but tags, over words without punctuation.

    Punctuation is told by its Penn tag, as in the parameters of Collins for the program evalb.
    """
    found: list[Bracket] = []

    def walk(node: Tree, start: int) -> int:
        if node.word is not None:
            return start + (node.label not in PUNCTUATION)
        place, end = len(found), start
        for child in node.children:
            if isinstance(child, Tree):
                end = walk(child, end)
        if end > start:
            found.insert(place, Bracket(start, end, node.label))
        return end

    walk(tree, 0)
    return found


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
