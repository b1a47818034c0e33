"""Files that word vectors are tested with: pairs with a similarity, and analogies."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from peluche.config import Config
from peluche.data.catalogue import catalogue, find_entry
from peluche.data.locate import provide
from peluche.data.readers import display_name, read_lines
from peluche.data.selection import SkipReport
from peluche.data.sources import Encoding
from peluche.data.text_parts import found
from peluche.errors import DataError


class Pair(NamedTuple):
    """Two words, and how similar people find them."""

    one: str
    other: str
    similarity: float


class Analogy(NamedTuple):
    """One is to other as third is to answer."""

    one: str
    other: str
    third: str
    answer: str
    section: str


@dataclass(frozen=True)
class WordTest:
    """A file's contents: either pairs or analogies."""

    name: str
    where: str = ""
    pairs: list[Pair] = field(default_factory=list)
    analogies: list[Analogy] = field(default_factory=list)


class WordTests(Config):
    """Files of pairs or of analogies; a relative path is also looked for in PELUCHE_DATA."""

    kind: Literal["word_tests"] = "word_tests"
    files: tuple[Path, ...]
    encoding: Encoding = "utf-8"

    def read(self, skipped: SkipReport | None = None) -> Iterator[WordTest]:
        """Each file.

        Raises:
            DataError: see `read_word_test`; or there are no files.
        """
        if not self.files:
            raise DataError("there are no tests of words", remedy="name a file")
        for path in self.files:
            yield read_word_test(path, self.encoding)


def word_tests_from(names: Sequence[str], own: Sequence[str | Path], **options: Any) -> WordTests:
    """The tests that a command line means.

    Args:
        names: files, or an entry of the catalogue, all of whose lists are meant unless `variant`
            says which; none for the run's `own` files.

    Raises:
        ConfigError: an option does not belong here, or the entry has no lists of words.
    """
    given = {key: value for key, value in options.items() if value is not None}
    variant = given.pop("variant", None)
    files: list[str | Path] = []
    for name in names:
        files += _of_entry(name, variant) if name in catalogue() else [name]
    return WordTests.parse({"files": files or list(own), **given}, where=" ".join(names))


def _of_entry(name: str, variant: str | None) -> list[Path]:
    entry = find_entry(name)
    chosen = [variant] if variant is not None else list(entry.variants)
    return [
        provide(name, entry.variant(one, "test", gives="lines").paths("test", ())[0])
        for one in chosen
    ]


def read_word_test(path: Path, encoding: str = "utf-8") -> WordTest:
    """Read pairs ("tiger cat 7.35", also with tabs, commas or a header) or analogies.

    Analogies have four words a line, in sections that lines such as ": family" begin, as in the
    questions-words.txt of word2vec. Which of the two a file is, its first such line tells. A
    relative path is also looked for in PELUCHE_DATA.

    Raises:
        DataError: a line is neither, or there is none.
    """
    path = found(path)
    test = WordTest(Path(display_name(path)).stem, str(path))
    section = ""
    for number, line in enumerate(read_lines(path, encoding), start=1):
        where = f"{display_name(path)}:{number}"
        if line.startswith(":"):
            section = line[1:].strip()
            continue
        fields = line.replace(",", " ").split() if "\t" not in line else line.split("\t")
        if not fields or line.startswith("#"):
            continue
        if len(fields) == 4 and not test.pairs:
            one, other, third, answer = fields
            test.analogies.append(Analogy(one, other, third, answer, section))
        elif len(fields) == 3 and not test.analogies:
            similarity = _number(fields[2])
            if similarity is not None:
                test.pairs.append(Pair(fields[0], fields[1], similarity))
            elif test.pairs:
                raise _neither(where)
        else:
            raise _neither(where)
    if not test.pairs and not test.analogies:
        raise DataError("the file holds no word pairs and no analogies", where=path)
    return test


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _neither(where: str) -> DataError:
    return DataError(
        "the line is not two words and a number, nor (in a file of its own) four words",
        where=where,
        remedy='write "tiger cat 7.35", or analogies such as "man king woman queen"',
    )
