"""Labelled texts that a command line names, read as a run's own source reads its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from peluche.config import parse_as
from peluche.data.catalogue import FileVariant, catalogue, find_entry
from peluche.data.labelled import TextSource
from peluche.data.rows import SUFFIXES
from peluche.errors import ConfigError, DataError, did_you_mean

# What belongs to one file or to one run, and not to the format.
OWN = {"path", "files", "name", "split", "variant", "languages", "slice", "limit"}


def texts_from(names: Sequence[str], like: Mapping[str, Any], **options: Any) -> TextSource:
    """The source of labelled texts that is meant.

    Args:
        names: a catalogue entry, or one file or folder; none for the source `like` itself. The
            kind of a file is told by its suffix; without one that says it, it is `like`'s.
        like: the configuration of a run's source. A file of its kind is read as it says (columns,
            encoding, names of labels), any other file with its names of labels alone.
        options: keys of the configuration that take its place. `columns` are the text's and the
            label's, such as ``0,1``; or those of two texts and the label.

    Raises:
        ConfigError: if an option does not belong to this kind of source.
        DataError: if it cannot be told what is meant.
    """
    options = {key: value for key, value in options.items() if value is not None}
    if len(names) > 1:
        raise DataError(f"{len(names)} names given", remedy="give one file, folder or corpus")
    if not names:
        values = {**like, **_columns(options)}
    elif names[0] in catalogue():
        values = {**_of_catalogue(names[0], like, options), **_columns(options)}
    else:
        values = {**_of_file(Path(names[0]), like), **_columns(options)}
    return cast(TextSource, parse_as(TextSource, values, where=" ".join(names) or "the run's data"))


def _of_catalogue(name: str, like: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    if like.get("name") == name:
        return {key: value for key, value in like.items() if key not in ("slice", "limit")}
    variants = find_entry(name).variants
    variant = variants.get(options.get("variant") or next(iter(variants)))
    splits = [] if variant is None else list(variant.splits)
    held_out = next((split for split in ("test", "validation") if split in splits), "train")
    return {
        "kind": "languages" if like.get("kind") == "languages" else "catalogue",
        "name": name,
        "split": held_out,
        "names": like.get("names") or {},
    }


def _of_file(path: Path, like: Mapping[str, Any]) -> dict[str, Any]:
    format_ = _format(like)
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if path.is_dir():
        kind = "folders"
    elif suffix in SUFFIXES:
        kind = SUFFIXES[suffix]
    elif not path.exists():
        raise DataError(
            f"no corpus, file or folder is called '{path}'",
            remedy=did_you_mean(str(path), catalogue()),
        )
    else:
        kind = str(format_.get("kind"))
    if kind not in (*SUFFIXES.values(), "label_first", "folders"):
        raise DataError(
            f"it cannot be told how labelled texts stand in {path}",
            remedy="name a .tsv, .csv or .jsonl file",
        )
    kept = format_ if format_.get("kind") == kind else {"names": format_.get("names") or {}}
    if kind == "jsonl" and kept is not format_:
        kept |= {"text": "text", "label": "label"}
    return {**kept, "kind": kind, "path": path}


def _format(like: Mapping[str, Any]) -> dict[str, Any]:
    """How a source's file is written; of a catalogue entry, as the catalogue says."""
    values = {key: value for key, value in like.items() if key not in OWN}
    if like.get("kind") != "catalogue":
        return values
    entry = find_entry(like["name"])
    variant = entry.variant(like.get("variant"), like.get("split", "train"), gives="texts")
    assert isinstance(variant, FileVariant)
    names = {**variant.source.get("names", {}), **(like.get("names") or {})}
    return {**values, **variant.source, "names": names}


def _columns(options: dict[str, Any]) -> dict[str, Any]:
    """Options with `columns` as the keys that sources have."""
    columns = options.pop("columns", None)
    if columns is None:
        return options
    parts = [int(part) if part.isdigit() else part for part in columns.split(",")]
    if len(parts) not in (2, 3):
        raise ConfigError(
            f"--columns names {len(parts)} columns",
            remedy="give the text's and the label's, as 0,1, or those of two texts and the label",
        )
    *texts, label = parts
    found = {"text": texts[0], "label": label}
    return options | found | ({"second": texts[1]} if len(texts) > 1 else {})
