"""Every kind of source of plain texts, and mixtures of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from peluche.config import Config, kind_unless_given, parse_as
from peluche.data.code_files import CodeFolder
from peluche.data.huggingface_texts import HuggingFaceTexts
from peluche.data.locate import found
from peluche.data.parquet import ParquetTexts
from peluche.data.selection import SkipReport
from peluche.data.text_parts import PlainText, Texts
from peluche.data.texts import TextFile, text_file

PlainTextSource = Annotated[
    TextFile | ParquetTexts | CodeFolder | HuggingFaceTexts,
    Field(discriminator="kind"),
    kind_unless_given("lines"),
]


class Weighted(Config):
    """A source, and how many of a mixture's tokens come from it, beside the others' weights."""

    weight: float = Field(gt=0, allow_inf_nan=False)
    source: PlainTextSource


class Mixture(Config):
    """Several sources, read side by side; see `peluche.data.tokens.MixedTokens`."""

    kind: Literal["mixture"] = "mixture"
    sources: tuple[Weighted, ...] = Field(min_length=1)

    def read(self, skipped: SkipReport | None = None) -> Iterator[PlainText]:
        """All texts of all sources once, one source after the other."""
        return chain.from_iterable(part.source.read(skipped) for part in self.sources)


CorpusSource = Annotated[
    TextFile | ParquetTexts | CodeFolder | HuggingFaceTexts | Mixture,
    Field(discriminator="kind"),
    kind_unless_given("lines"),
]


def weighted(source: Texts | Mixture) -> list[tuple[Texts, float]]:
    """The sources of a mixture with their weights; a source by itself has all."""
    if isinstance(source, Mixture):
        return [(part.source, part.weight) for part in source.sources]
    return [(source, 1.0)]


def sample(source: Texts | Mixture, size: int | None) -> Iterator[str]:
    """Texts to learn a vocabulary from: all, or the beginning of every part of every source.

    Args:
        size: about how many characters to take in all; of a mixture, by weight.
    """
    sources = weighted(source)
    if size is None:
        yield from (text.text for one, _ in sources for text in one.read())
        return
    total = sum(weight for _, weight in sources)
    for one, weight in sources:
        plan = one.plan()
        for group in plan:
            left = size * weight / total / len(plan)
            for text in one.read_parts(group, SkipReport()):
                yield text.text
                left -= len(text.text)
                if left <= 0:
                    break


def plain_texts(name: str, **options: Any) -> Texts:
    """The source that a command line names.

    Args:
        name: a file, a pattern, a folder (of code, or a data set that was saved), or a name on the
            Hugging Face hub after ``hf:``; the kind of a file follows from its end, and one
            without a known end is read by lines.
        options: keys of the source's configuration; None for those not given. Of a TSV or CSV
            file, a `text` of digits is a column's place, counted from 0.

    Raises:
        ConfigError: an option does not belong to this kind of source.
    """
    values = {key: value for key, value in options.items() if value is not None}
    if name.startswith("hf:"):
        values = {"kind": "huggingface", "name": name.removeprefix("hf:")} | values
    elif found(Path(name)).is_dir():
        values = {"kind": "code", "path": name} | values
    else:
        values = text_file(name, {}) | values
        column = values.get("text", "")
        if values["kind"] in ("tsv", "csv") and column.isdigit():
            values["text"] = int(column)
    source: Texts = parse_as(PlainTextSource, values, where=name)
    return source
