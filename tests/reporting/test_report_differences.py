"""Which words two sentences share."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from peluche.reporting.differences import MOST_CHARACTERS, Segment, mark

words = st.sampled_from(["un", "ours", "l'", ",", ".", "en"])
texts = st.text(max_size=80) | st.lists(words).map(" ".join)


@given(texts, texts)
def test_the_segments_are_the_text(text, other):
    segments = mark(text, other)
    assert "".join(segment.text for segment in segments) == text
    assert all(one.same != two.same for one, two in pairwise(segments))


@given(texts)
def test_a_text_shares_all_with_itself(text):
    assert all(segment.same for segment in mark(text, text))


def test_words_that_differ_are_marked_with_the_space_between_them():
    assert mark("Un grand ours a lu.", "Un ours lit.") == [
        Segment("Un ", True),
        Segment("grand", False),
        Segment(" ours ", True),
        Segment("a lu", False),
        Segment(".", True),
    ]


def test_an_elided_article_is_a_word():
    assert mark("l'ami", "l'ours")[0] == Segment("l'", True)


def test_a_long_text_is_cut_and_quick():
    (segment,) = mark("mot " * 100_000, "")
    assert len(segment.text) == MOST_CHARACTERS + 1
