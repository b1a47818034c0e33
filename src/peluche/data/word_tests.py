"""Files that word vectors are tested with: pairs with a similarity, and analogies."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from peluche.data.readers import display_name, read_lines
from peluche.data.texts import found
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
    pairs: list[Pair] = field(default_factory=list)
    analogies: list[Analogy] = field(default_factory=list)


def read_word_test(path: Path, encoding: str = "utf-8") -> WordTest:
    """Read pairs ("tiger cat 7.35", also with tabs, commas or a header) or analogies.

    Analogies have four words a line, in sections that lines such as ": family" begin, as in the
    questions-words.txt of word2vec. Which of the two a file is, its first such line tells. A
    relative path is also looked for in PELUCHE_DATA.

    Raises:
        DataError: a line is neither, or there is none.
    """
    path = found(path)
    test = WordTest(Path(display_name(path)).stem)
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
