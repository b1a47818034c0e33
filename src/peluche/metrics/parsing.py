"""Scores of syntax: attachments of dependency trees, brackets of constituency trees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from peluche.errors import DataError
from peluche.metrics.counts import FIGURES, CountScore, Share
from peluche.metrics.entities import check_sentences
from peluche.metrics.scoring import Measurement


class Attachments(NamedTuple):
    """A dependency tree: for each token its head, 1 being the first token and 0 the root, and why.

    Attributes:
        heads: as in CoNLL-U.
        relations: names such as nsubj; what follows a colon is a subtype.
    """

    heads: Sequence[int]
    relations: Sequence[str]


class Bracket(NamedTuple):
    """A constituent: tokens `start` to `end` (excluded) and its label."""

    start: int
    end: int
    label: str


def measure_attachments(
    predicted: Sequence[Attachments], gold: Sequence[Attachments], *, subtypes: bool = False
) -> list[Measurement]:
    """UAS and LAS: tokens with the right head, and with the right head and relation.

    All tokens count, punctuation too, and subtypes of relations do not, as in the CoNLL 2018
    shared task (Zeman et al. 2018, §5), unless `subtypes`.

    Raises:
        DataError: not as many sentences or tokens.
    """
    check_sentences([tree.heads for tree in predicted], [tree.heads for tree in gold])
    rows = []
    for said, true in zip(predicted, gold, strict=True):
        heads = [one == other for one, other in zip(said.heads, true.heads, strict=True)]
        names = [
            one == other if subtypes else one.split(":")[0] == other.split(":")[0]
            for one, other in zip(said.relations, true.relations, strict=True)
        ]
        both = [head and name for head, name in zip(heads, names, strict=True)]
        rows.append((sum(heads), sum(both), len(heads)))
    counts = np.array(rows, dtype=np.float64)
    unit = "token" if subtypes else "token, relations without subtypes"
    return [
        Measurement(Share(name, unit), counts[:, [column, 2]])
        for column, name in enumerate(("uas", "las"))
    ]


def measure_brackets(
    predicted: Sequence[Sequence[Bracket]], gold: Sequence[Sequence[Bracket]]
) -> list[Measurement]:
    """Labelled precision, recall and F1 of brackets, and the share of sentences all right.

    A bracket that a tree has twice counts twice (PARSEVAL, Black et al. 1991). Callers leave out
    what the convention does not score: part-of-speech tags, the root, punctuation.

    Raises:
        DataError: not as many sentences.
    """
    if len(predicted) != len(gold) or not gold:
        raise DataError(
            f"{len(predicted)} predicted but {len(gold)} gold trees",
            remedy="give the same sentences in the same order, at least one",
        )
    rows, whole = [], []
    for said, true in zip(predicted, gold, strict=True):
        ours, theirs = Counter(said), Counter(true)
        rows.append(((ours & theirs).total(), ours.total(), theirs.total()))
        whole.append((float(ours == theirs), 1.0))
    counts = np.array(rows, dtype=np.float64)
    figures = [
        Measurement(CountScore(figure, "micro", ["bracket"], "bracket"), counts)
        for figure in FIGURES
    ]
    return [*figures, Measurement(Share("exact_match", "sentence"), np.array(whole))]
