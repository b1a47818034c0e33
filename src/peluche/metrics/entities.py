"""Named entities in tagged sentences: tags to spans and back, and their scores.

A tag is O, or a prefix and a type such as B-person. BIO (also IOB2) marks an entity's first token
B and the others I; IOB1 writes B only where an entity follows another of its type; BIOES also
marks last (E) and single (S) tokens. One reading serves all of them, that of the CoNLL-2000
evaluation script, which accepts ill-formed sequences: an entity begins at B and S, after E and S,
and wherever the type changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from peluche.errors import DataError
from peluche.metrics.base import Array
from peluche.metrics.counts import Share, measure_counts
from peluche.metrics.scoring import Measurement

OUTSIDE = "O"
Scheme = Literal["iob1", "bio", "bioes"]


class Span(NamedTuple):
    """Tokens `start` to `end` (excluded) and what they are."""

    start: int
    end: int
    type: str


def spans_of(tags: Sequence[str]) -> list[Span]:
    """The entities that a sequence of tags marks, in any of the schemes.

    Raises:
        DataError: a tag is neither O nor a prefix of B, I, E, S and a type.
    """
    spans: list[Span] = []
    start, before = 0, OUTSIDE
    for place, tag in enumerate([*tags, OUTSIDE]):
        prefix, kind = _parts(tag)
        last_prefix, last_kind = _parts(before)
        inside = prefix in "IE" and last_prefix in "BI" and kind == last_kind
        if before != OUTSIDE and not inside:
            spans.append(Span(start, place, last_kind))
        if not inside:
            start = place
        before = tag
    return spans


def is_entity_tags(tags: Iterable[str]) -> bool:
    """Whether all of a model's tags are such as mark entities, and some do."""
    prefixes = {tag if tag == OUTSIDE else tag[:2] for tag in tags}
    return OUTSIDE in prefixes and prefixes <= {OUTSIDE, "B-", "I-", "E-", "S-"}


def tags_of(spans: Sequence[Span], length: int, scheme: Scheme = "bio") -> list[str]:
    """Tags of a sentence of `length` tokens in which these entities stand.

    Raises:
        DataError: entities overlap or reach beyond the sentence.
    """
    tags = [OUTSIDE] * length
    ended: dict[int, str] = {}
    for start, end, kind in sorted(spans):
        if not 0 <= start < end <= length or any(tag != OUTSIDE for tag in tags[start:end]):
            raise DataError(
                f"the entity {kind} at {start}:{end} overlaps another, or is not in the sentence",
                where=f"a sentence of {length} tokens",
                remedy="entities are flat: keep one of those that overlap",
            )
        tags[start:end] = [f"I-{kind}"] * (end - start)
        if scheme != "iob1" or ended.get(start) == kind:
            tags[start] = f"B-{kind}"
        if scheme == "bioes":
            tags[end - 1] = f"E-{kind}" if end - start > 1 else f"S-{kind}"
        ended[end] = kind
    return tags


def may_follow(before: str | None, tag: str | None, *, bioes: bool) -> bool:
    """Whether one tag may follow another in a well-formed sequence of BIO or BIOES.

    Args:
        before: None before the first tag.
        tag: None after the last.
        bioes: whether entities have to be closed by E or S.
    """
    left, kind = _parts(OUTSIDE if before is None else before)
    right, same = _parts(OUTSIDE if tag is None else tag)
    inside = left in "BI" and kind == same
    if right in ("I", "E"):
        return inside
    return not (bioes and left in ("B", "I"))


def convert_tags(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """The same entities in another scheme."""
    return tags_of(spans_of(tags), len(tags), scheme)


def measure_entities(
    predicted: Sequence[Sequence[str]],
    gold: Sequence[Sequence[str]],
    types: Sequence[str] = (),
) -> list[Measurement]:
    """Precision, recall and F1 of whole entities (micro, macro, each type), and token accuracy.

    An entity is right if its bounds and its type are (Tjong Kim Sang & De Meulder 2003). Equal to
    seqeval in its default mode.

    Args:
        types: that the means are over as well, besides those that occur; two systems compare if
            both are measured over the same.

    Raises:
        DataError: not as many sentences or tokens, or something that is not a tag.
    """
    check_sentences(predicted, gold)
    said, true = ([spans_of(tags) for tags in sentences] for sentences in (predicted, gold))
    found = {span.type for spans in (*said, *true) for span in spans}
    types = sorted({*found, *types}) or ["entity"]
    counts = _entity_counts(said, true, types)
    accuracy = Measurement(Share("token_accuracy", "token"), token_counts(predicted, gold))
    return [*measure_counts(counts, types, "entity"), accuracy]


def measure_tagging(
    predicted: Sequence[Sequence[str]],
    gold: Sequence[Sequence[str]],
    tags: Sequence[str] = (),
) -> list[Measurement]:
    """Token accuracy, and precision, recall and F1 over tokens: macro and of each tag.

    Args:
        tags: that the means are over as well, besides those that occur; two systems compare if
            both are measured over the same.

    Raises:
        DataError: not as many sentences or tokens.
    """
    check_sentences(predicted, gold)
    tags = sorted({tag for sentence in (*predicted, *gold, tags) for tag in sentence})
    numbers = {tag: number for number, tag in enumerate(tags)}
    counts = np.zeros((len(gold), len(tags), 3))
    for row, (said, true) in enumerate(zip(predicted, gold, strict=True)):
        for one, other in zip(said, true, strict=True):
            counts[row, numbers[one], 1] += 1
            counts[row, numbers[other], 2] += 1
            if one == other:
                counts[row, numbers[one], 0] += 1
    accuracy = Measurement(Share("accuracy", "token"), token_counts(predicted, gold))
    flat = counts.reshape(len(gold), -1)
    return [accuracy, *measure_counts(flat, tags, "token", averages=("macro",))]


def token_counts(predicted: Sequence[Sequence[str]], gold: Sequence[Sequence[str]]) -> Array:
    """(N, 2): tokens that agree and all tokens, per sentence."""
    return np.array(
        [
            [sum(one == other for one, other in zip(said, true, strict=True)), len(true)]
            for said, true in zip(predicted, gold, strict=True)
        ],
        dtype=np.float64,
    )


def check_sentences(
    predicted: Sequence[Sequence[object]], gold: Sequence[Sequence[object]]
) -> None:
    """Raise DataError unless both have the same number of sentences, and of tokens in each."""
    if not gold:
        raise DataError("there are no sentences to score", remedy="give at least one")
    if len(predicted) != len(gold):
        raise DataError(
            f"{len(predicted)} predicted but {len(gold)} gold sentences",
            remedy="give the same sentences in the same order",
        )
    for number, (said, true) in enumerate(zip(predicted, gold, strict=True), 1):
        if len(said) != len(true):
            raise DataError(
                f"{len(said)} predicted but {len(true)} gold tokens",
                where=f"sentence {number}",
                remedy="give one prediction per token",
            )


def _entity_counts(
    said: Sequence[Sequence[Span]], true: Sequence[Sequence[Span]], types: Sequence[str]
) -> Array:
    """(N, 3·C) counts of entities per sentence."""
    numbers = {kind: number for number, kind in enumerate(types)}
    counts = np.zeros((len(true), len(types), 3))
    for row, (ours, theirs) in enumerate(zip(said, true, strict=True)):
        for column, spans in enumerate((set(ours) & set(theirs), set(ours), set(theirs))):
            for span in spans:
                counts[row, numbers[span.type], column] += 1
    return counts.reshape(len(true), -1)


def _parts(tag: str) -> tuple[str, str]:
    """Prefix and type; ("O", "") outside."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, dash, kind = tag.partition("-")
    if prefix not in ("B", "I", "E", "S") or not dash or not kind:
        raise DataError(
            f"'{tag}' is not a tag of an entity",
            remedy="write O, or B-, I-, E- or S- and a type, such as B-person",
        )
    return prefix, kind
