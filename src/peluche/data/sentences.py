"""Annotated sentences: CoNLL columns and CoNLL-U, one sentence at a time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from peluche.data.readers import display_name, read_lines
from peluche.data.selection import Selection, SkipReport
from peluche.data.sources import Encoding
from peluche.errors import DataError
from peluche.metrics.entities import Scheme, convert_tags

CONLLU_COLUMNS = 10
FORM, UPOS, XPOS, HEAD, RELATION = 1, 3, 4, 6, 7
ROOT = 0
# Joins the names of constituents of the same tokens, the outer one first: S+VP.
CHAIN = "+"


class Sentence(NamedTuple):
    """The tokens of a sentence and what is said of each.

    Attributes:
        tokens: words and punctuation.
        tags: a tag per token; empty if the file has none.
        heads: the place of each token's head, 1 being the first token and 0 the root; empty if
            there is no tree.
        relations: the name of each token's relation to its head.
        spans: constituents: first token, end (excluded, both counted from 0) and name.
        where: of the first token, e.g. ``train.conllu:17``.
    """

    tokens: Sequence[str]
    where: str
    tags: Sequence[str] = ()
    heads: Sequence[int] = ()
    relations: Sequence[str] = ()
    spans: Sequence[tuple[int, int, str]] = ()

    @property
    def texts(self) -> tuple[str]:
        """The sentence, its tokens apart."""
        return (" ".join(self.tokens),)

    @property
    def labels(self) -> Sequence[str]:
        """The tags, or the names of constituents where there are any."""
        if self.spans:
            return [name for _, _, label in self.spans for name in label.split(CHAIN)]
        return self.tags


class SentenceSelection(Selection):
    """What every source of annotated sentences has.

    Attributes:
        scheme: how tags mark entities once they are read (see `peluche.metrics.entities`),
            whichever scheme the file has; None leaves tags as they are.
    """

    scheme: Scheme | None = None

    def read(self, skipped: SkipReport | None = None) -> Iterator[Sentence]:
        """The sentences, streaming.

        Raises:
            DataError: at the first thing that is wrong, with its place; or if nothing is left.
        """
        for sentence in self.select(self.examples(), skipped):
            yield sentence if self.scheme is None else _in_scheme(sentence, self.scheme)

    @abstractmethod
    def examples(self) -> Iterator[Sentence]:
        """All sentences, before selection."""


class _SentenceFile(SentenceSelection):
    path: Path
    encoding: Encoding = "utf-8"

    def _blocks(self) -> Iterator[list[tuple[str, str]]]:
        """Lines and their places, a block per sentence; blank lines part sentences."""
        name = display_name(self.path)
        block: list[tuple[str, str]] = []
        for number, line in enumerate(read_lines(self.path, self.encoding), start=1):
            if line.strip():
                block.append((line, f"{name}:{number}"))
            elif block:
                yield block
                block = []
        if block:
            yield block


class ConllSentences(_SentenceFile):
    """One token a line with its tag in another column, a blank line after each sentence.

    Attributes:
        token: the column of the token, counted from 0.
        tag: the column of the tag; -1 is the last.
        separator: between columns; any whitespace if not given.
    """

    kind: Literal["conll"] = "conll"
    token: int = Field(0, ge=0)
    tag: int = -1
    separator: str | None = None

    def examples(self) -> Iterator[Sentence]:
        for block in self._blocks():
            rows = [(line.split(self.separator), where) for line, where in block]
            if rows[0][0][0] == "-DOCSTART-":
                continue
            columns = len(rows[0][0])
            for row, where in rows:
                if len(row) != columns:
                    raise DataError(
                        f"the line has {len(row)} columns; the sentence began with {columns}",
                        where=where,
                        remedy="give every token of a sentence the same columns (a missing tag is "
                        "usual), or say how they are separated",
                    )
            for column in (self.token, self.tag):
                if not -columns <= column < columns:
                    raise DataError(
                        f"there is no column {column}: the line has {columns}",
                        where=rows[0][1],
                        remedy="choose the columns with token and tag, counted from 0",
                    )
            yield Sentence(
                tokens=[row[self.token] for row, _ in rows],
                tags=[row[self.tag] for row, _ in rows],
                where=rows[0][1],
            )


class ConlluSentences(_SentenceFile):
    """CoNLL-U: ten columns separated by tabs (https://universaldependencies.org/format.html).

    Words of contractions (ranges such as 3-4) and empty nodes (such as 8.1) are left out.

    Attributes:
        tag: which part of speech becomes the tag.
        trees: whether there have to be trees; they are checked.
    """

    kind: Literal["conllu"] = "conllu"
    tag: Literal["upos", "xpos"] = "upos"
    trees: bool = True

    def examples(self) -> Iterator[Sentence]:
        column = UPOS if self.tag == "upos" else XPOS
        for block in self._blocks():
            rows = [(line.split("\t"), where) for line, where in block if not line.startswith("#")]
            for row, where in rows:
                if len(row) != CONLLU_COLUMNS:
                    raise DataError(
                        f"the line has {len(row)} columns instead of {CONLLU_COLUMNS}",
                        where=where,
                        remedy="CoNLL-U separates ten columns by tabs; write _ for one that is "
                        "empty",
                    )
            rows = [(row, where) for row, where in rows if row[0].isdecimal()]
            if not rows:
                continue
            heads: list[int] = []
            if self.trees:
                heads = [_head(row, where) for row, where in rows]
                check_tree(heads, rows[0][1])
            yield Sentence(
                tokens=[row[FORM] for row, _ in rows],
                tags=[row[column] for row, _ in rows],
                heads=heads,
                relations=[row[RELATION] for row, _ in rows] if self.trees else (),
                where=rows[0][1],
            )


def _in_scheme(sentence: Sentence, scheme: Scheme) -> Sentence:
    try:
        return sentence._replace(tags=convert_tags(sentence.tags, scheme))
    except DataError as error:
        raise DataError(error.what, where=sentence.where, remedy=error.remedy) from None


def check_tree(heads: Sequence[int], where: str) -> None:
    """Raise DataError unless `heads` make one tree with one root.

    Args:
        heads: for each token the place of its head, 1 being the first token and 0 the root.
        where: the place of the sentence, for messages.
    """
    remedy = "every token needs one head, and following heads must lead to the one root"
    for place, head in enumerate(heads, 1):
        if not 0 <= head <= len(heads) or head == place:
            raise DataError(
                f"token {place} has head {head} in a sentence of {len(heads)} tokens",
                where=where,
                remedy=remedy,
            )
    roots = [place for place, head in enumerate(heads, 1) if head == ROOT]
    if len(roots) != 1:
        raise DataError(
            f"the tree has {len(roots)} roots" + (f": tokens {roots}" if roots else ""),
            where=where,
            remedy=remedy,
        )
    reaches_root = {ROOT}
    for place in range(1, len(heads) + 1):
        path: list[int] = []
        while place not in reaches_root:
            if place in path:
                cycle = path[path.index(place) :]
                raise DataError(
                    f"the heads of tokens {cycle} lead round in a circle",
                    where=where,
                    remedy=remedy,
                )
            path.append(place)
            place = heads[place - 1]
        reaches_root.update(path)


def write_conllu(sentences: Sequence[Sentence]) -> str:
    """Sentences as CoNLL-U; columns that peluche does not know are _."""
    blocks = []
    for sentence in sentences:
        lines = []
        for row, token in enumerate(sentence.tokens):
            columns = ["_"] * CONLLU_COLUMNS
            columns[0], columns[FORM] = str(row + 1), token
            if sentence.tags:
                columns[UPOS] = sentence.tags[row]
            if sentence.heads:
                columns[HEAD] = str(sentence.heads[row])
                columns[RELATION] = sentence.relations[row]
            lines.append("\t".join(columns))
        blocks.append("\n".join(lines) + "\n\n")
    return "".join(blocks)


def _head(row: list[str], where: str) -> int:
    if not row[HEAD].isdecimal():
        raise DataError(
            f"the head '{row[HEAD]}' of '{row[FORM]}' is not a number",
            where=where,
            remedy="write the place of the head, or set trees: false to read the tags alone",
        )
    return int(row[HEAD])
