"""Any corpus that a command line may name, whatever kind of examples it gives."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from peluche.config import parse_as
from peluche.data.brackets import tree_of
from peluche.data.catalogue import catalogue, find_entry
from peluche.data.from_catalogue import FromCatalogue
from peluche.data.labelled import LabelledText, TextSource
from peluche.data.locate import provide
from peluche.data.pairs import Pair
from peluche.data.questions import Question, QuestionSource
from peluche.data.readers import display_name, read_lines
from peluche.data.rows import SUFFIXES as TABLES
from peluche.data.selection import SkipReport
from peluche.data.sentences import Sentence
from peluche.data.sources import source_from
from peluche.data.statistics import (
    example_statistics,
    example_table,
    statistics,
    statistics_table,
    text_statistics,
)
from peluche.data.text_parts import PlainText
from peluche.data.text_sources import plain_texts
from peluche.data.treebanks import SentenceSource, kind_of_file
from peluche.errors import ConfigError

UNIONS = {"texts": TextSource, "sentences": SentenceSource, "questions": QuestionSource}


class Line(NamedTuple):
    """A line of a file that is no corpus of examples, such as a list of word pairs."""

    text: str
    where: str
    labels: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str]:
        """The line."""
        return (self.text,)


class CatalogueLines(FromCatalogue):
    """The lines of a file of the catalogue."""

    gives = "lines"

    def read(self, skipped: SkipReport | None = None) -> Iterator[Line]:
        """The lines, streaming."""
        path = provide(self.name, self.chosen().paths(self.split, ())[0])
        name = display_name(path)
        lines = enumerate(read_lines(path), 1)
        return self.select((Line(line, f"{name}:{number}") for number, line in lines), skipped)


def corpus_from(
    names: Sequence[str],
    split: str | None = None,
    languages: str | None = None,
    variant: str | None = None,
    encoding: str | None = None,
    columns: str | None = None,
    **options: Any,
) -> Any:
    """The source that a command line means, of pairs or of any other kind of example.

    Arguments and errors as for `peluche.data.sources.source_from`.
    """
    given = {"split": split, "variant": variant, "encoding": encoding, **options}
    values = {key: value for key, value in given.items() if value is not None}
    # A .tsv may hold pairs or labelled texts, and is read as pairs.
    kind = kind_of_file(Path(names[0]))
    if names[0] in catalogue():
        entry = find_entry(names[0])
        chosen = entry.variants.get(variant or next(iter(entry.variants)))
        if chosen is not None and chosen.gives != "pairs":
            first = next(iter(chosen.splits))
            values = {"kind": "catalogue", "name": names[0], "split": first} | values
            union: Any = UNIONS.get(chosen.gives, CatalogueLines)
            _refuse(languages=languages, columns=columns)
            return parse_as(union, values, where=names[0])
    elif kind is not None and len(names) == 1:
        _refuse(languages=languages, columns=columns)
        return parse_as(SentenceSource, {"kind": kind, "path": names[0]} | values, where=names[0])
    elif len(names) == 1 and _is_texts(names[0]):
        _refuse(languages=languages, split=split, variant=variant)
        if not names[0].startswith("hf:") and not names[0].endswith(".parquet"):
            _refuse(columns=columns)
        given = {"encoding": encoding, "text": columns, **options}
        return plain_texts(names[0], **given)
    return source_from(names, split, languages, variant, encoding, columns, **options)


def _is_texts(name: str) -> bool:
    """Whether a name is that of plain texts: files of lines, tables of which are read as pairs."""
    path = Path(name)
    tables = Path(path.name.removesuffix(".gz")).suffix.lower() in TABLES
    return name.startswith("hf:") or (not tables and (path.exists() or glob.has_magic(name)))


def shown(example: Any) -> list[str]:
    """What an example says, for people: its texts, and its label, tags or tree."""
    match example:
        case Pair():
            return [example.source, example.target]
        case PlainText():
            return [example.text]
        case LabelledText():
            return [f"[{example.label}]", *example.texts]
        case Sentence() if example.spans:
            return [str(tree_of(example.tokens, example.tags, example.spans))]
        case Sentence():
            tags = example.tags or [""] * len(example.tokens)
            words = zip(example.tokens, tags, strict=True)
            lines = [" ".join(f"{token}/{tag}" if tag else token for token, tag in words)]
            if example.heads:
                arcs = zip(example.relations, example.heads, strict=True)
                lines.append(" ".join(f"{relation}:{head}" for relation, head in arcs))
            return lines
    return list(example.texts)


def as_json(example: Any) -> dict[str, Any]:
    """An example as plain values; constituents as a tree in brackets."""
    if isinstance(example, Sentence) and example.spans:
        tree = tree_of(example.tokens, example.tags, example.spans)
        return {"tree": str(tree), "where": example.where}
    values: dict[str, Any] = example._asdict()
    return values


def describe_corpus(examples: Iterable[Any]) -> tuple[dict[str, Any], list[tuple[str, str, str]]]:
    """What a corpus is like, as plain values and as a table for people."""
    examples = iter(examples)
    first = next(examples)
    examples = chain([first], examples)
    if isinstance(first, Question):
        examples = (Pair(one.context, one.question, one.where) for one in examples)
    if isinstance(first, (Pair, Question)):
        found = statistics(examples)
        return found, statistics_table(found)
    if isinstance(first, PlainText):
        found = text_statistics(examples)
        return found, example_table(found)
    found = example_statistics(examples)
    return found, example_table(found)


def _refuse(**options: str | None) -> None:
    for option, value in options.items():
        if value is not None:
            raise ConfigError(f"this corpus has no {option}", remedy=f"leave --{option} out")
