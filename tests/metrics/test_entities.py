"""Entities: reading and writing tags, and equality with seqeval."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peluche.errors import DataError
from peluche.metrics.entities import (
    Span,
    convert_tags,
    may_follow,
    measure_entities,
    measure_tagging,
    spans_of,
    tags_of,
)
from peluche.metrics.scoring import scores_of

TAGS = ["O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in ("person", "place"))]
GOLD = ["B-person", "I-person", "O", "B-place", "B-place"]
SPANS = [Span(0, 2, "person"), Span(3, 4, "place"), Span(4, 5, "place")]


def by_name(measured):
    return {score.metric: score.score for score in scores_of(measured, bootstrap=0)}


def test_schemes_of_one_sentence():
    assert spans_of(GOLD) == SPANS
    assert convert_tags(GOLD, "iob1") == ["I-person", "I-person", "O", "I-place", "B-place"]
    assert convert_tags(GOLD, "bioes") == ["B-person", "E-person", "O", "S-place", "S-place"]


@st.composite
def sentences(draw):
    length = draw(st.integers(1, 12))
    spans, place = [], 0
    while place < length:
        size = draw(st.integers(0, 3))
        if size and place + size <= length:
            spans.append(Span(place, place + size, draw(st.sampled_from(["person", "place"]))))
        place += max(size, 1)
    return length, spans


@given(sentence=sentences(), scheme=st.sampled_from(["iob1", "bio", "bioes"]))
def test_every_scheme_keeps_every_entity(sentence, scheme):
    length, spans = sentence
    assert spans_of(tags_of(spans, length, scheme)) == spans


@given(tags=st.lists(st.sampled_from(TAGS), max_size=10))
@settings(max_examples=300, deadline=None)
def test_ill_formed_tags_are_read_as_seqeval_reads_them(tags):
    seqeval = pytest.importorskip("seqeval.metrics.sequence_labeling")
    expected = [Span(first, last + 1, kind) for kind, first, last in seqeval.get_entities(tags)]
    assert spans_of(tags) == expected


@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_scores_equal_seqeval(data):
    seqeval = pytest.importorskip("seqeval.metrics")
    lengths = data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=5))
    said, gold = (
        [data.draw(st.lists(st.sampled_from(TAGS), min_size=n, max_size=n)) for n in lengths]
        for _ in range(2)
    )
    found = by_name(measure_entities(said, gold))
    for average in ("micro", "macro"):
        for name, figure in (
            ("precision", seqeval.precision_score),
            ("recall", seqeval.recall_score),
            ("f1", seqeval.f1_score),
        ):
            if any(spans_of(tags) for tags in (*said, *gold)):
                expected = figure(gold, said, average=average, zero_division=0)
                assert found[f"{name}_{average}"] == pytest.approx(100 * expected)
    assert found["token_accuracy"] == pytest.approx(100 * seqeval.accuracy_score(gold, said))


def test_closed_form():
    said = ["B-person", "I-person", "O", "O", "B-place"]
    found = by_name(measure_entities([said], [GOLD]))
    assert found["precision_micro"] == 100
    assert found["recall_micro"] == pytest.approx(200 / 3)
    assert found["f1[place]"] == pytest.approx(200 / 3)
    assert found["token_accuracy"] == 80
    assert by_name(measure_tagging([said], [GOLD]))["accuracy"] == 80


def test_no_entity_at_all_scores_zero():
    assert by_name(measure_entities([["O"]], [["O"]]))["f1_micro"] == 0


@pytest.mark.parametrize("tag", ["person", "X-person", "B-", "B", "b-person"])
def test_what_is_not_a_tag_is_an_error(tag):
    with pytest.raises(DataError, match="is not a tag of an entity"):
        spans_of(["O", tag])


def test_overlapping_entities_are_an_error():
    with pytest.raises(DataError, match="overlaps"):
        tags_of([Span(0, 2, "person"), Span(1, 3, "place")], 4)


def test_unequal_sentences_are_named():
    with pytest.raises(DataError, match="1 predicted but 2 gold tokens") as caught:
        measure_entities([["O"], ["O"]], [["O"], ["O", "O"]])
    assert "sentence 2" in str(caught.value)
    with pytest.raises(DataError, match="predicted but 2 gold sentences"):
        measure_tagging([["O"]], [["O"], ["O"]])
    with pytest.raises(DataError, match="no sentences"):
        measure_entities([], [])


@pytest.mark.parametrize("scheme", ["bio", "bioes"])
def test_what_may_follow_is_what_conversion_gives(scheme):
    tags = ["O", "B-a", "I-a", "B-b", "I-b"]
    if scheme == "bioes":
        tags += ["E-a", "S-a", "E-b", "S-b"]
    for sequence in itertools.product(tags, repeat=3):
        moves = itertools.pairwise([None, *sequence, None])
        allowed = all(may_follow(*move, bioes=scheme == "bioes") for move in moves)
        assert allowed == (convert_tags(sequence, scheme) == list(sequence)), sequence
