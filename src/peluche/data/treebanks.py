"""All sources of annotated sentences: files of each format, and corpora of the catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import Field

from peluche.config import parse_as
from peluche.data.brackets import BracketedTrees
from peluche.data.catalogue import catalogue, find_entry
from peluche.data.from_catalogue import FromCatalogue
from peluche.data.sentences import (
    ConllSentences,
    ConlluSentences,
    Sentence,
    SentenceSelection,
)
from peluche.errors import ConfigError, DataError, did_you_mean

SUFFIXES = {".conllu": "conllu", ".conll": "conll", ".mrg": "brackets", ".zip": "brackets"}
# What belongs to one file or to one run, and not to the format.
OWN = {"path", "name", "split", "variant", "slice", "limit"}

FileSentences = Annotated[
    ConllSentences | ConlluSentences | BracketedTrees, Field(discriminator="kind")
]


class CatalogueSentences(FromCatalogue, SentenceSelection):
    """Annotated sentences of the catalogue."""

    gives = "sentences"

    def examples(self) -> Iterator[Sentence]:
        return self.of_file(FileSentences)


SentenceSource = Annotated[
    ConllSentences | ConlluSentences | BracketedTrees | CatalogueSentences,
    Field(discriminator="kind"),
]


def kind_of_file(path: Path) -> str | None:
    """How sentences stand in a file, as its suffix says; None if it does not."""
    return SUFFIXES.get(Path(path.name.removesuffix(".gz")).suffix.lower())


def sentences_from(names: Sequence[str], like: Mapping[str, Any], **options: Any) -> SentenceSource:
    """The source of annotated sentences that a command line means.

    Args:
        names: a catalogue entry, or one file or folder; none for the source `like` itself.
        like: the configuration of a run's source: its scheme of entities is kept, and for a file of
            its kind everything else that says how files are read.
        options: keys of the configuration that take its place; `columns`, such as ``0,3``, are the
            token's and the tag's.

    Raises:
        ConfigError: if an option does not belong to this kind of source.
        DataError: if it cannot be told what is meant.
    """
    given = {key: value for key, value in options.items() if value is not None}
    columns = given.pop("columns", None)
    if columns is not None:
        given |= _columns(columns)
    if len(names) > 1:
        raise DataError(f"{len(names)} names given", remedy="give one file, folder or corpus")
    if not names:
        values = dict(like)
    elif names[0] in catalogue():
        values = _of_catalogue(names[0], like, given)
    else:
        values = _of_file(Path(names[0]), like)
    where = " ".join(names) or "the run's data"
    return cast(SentenceSource, parse_as(SentenceSource, {**values, **given}, where=where))


def _of_catalogue(name: str, like: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    if like.get("name") == name:
        return dict(like)
    variants = find_entry(name).variants
    variant = variants.get(given.get("variant") or next(iter(variants)))
    splits = [] if variant is None else list(variant.splits)
    held_out = next((split for split in ("test", "validation") if split in splits), "train")
    return {"kind": "catalogue", "name": name, "split": held_out, "scheme": like.get("scheme")}


def _of_file(path: Path, like: Mapping[str, Any]) -> dict[str, Any]:
    kind = "brackets" if path.is_dir() else kind_of_file(path) or like.get("kind")
    if kind not in SUFFIXES.values():
        raise DataError(
            f"it cannot be told how sentences stand in {path}"
            if path.exists()
            else f"no corpus, file or folder is called '{path}'",
            remedy="name a .conllu or .conll file, or bracketed trees in a .mrg file"
            if path.exists()
            else did_you_mean(str(path), catalogue()),
        )
    kept = {key: value for key, value in like.items() if key not in OWN}
    if like.get("kind") != kind:
        kept = {"scheme": like.get("scheme")}
    return {**kept, "kind": kind, "path": path}


def _columns(columns: str) -> dict[str, int]:
    parts = columns.split(",")
    if len(parts) != 2 or not all(part.strip().lstrip("-").isdigit() for part in parts):
        raise ConfigError(
            f"'{columns}' does not name the columns of a token and a tag",
            remedy="give their numbers, counted from 0, such as 0,3",
        )
    return {"token": int(parts[0]), "tag": int(parts[1])}
