"""Tokens belong to words, and attention between tokens becomes attention between words."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from explain_models import SHORT, make_model, make_tokenizer
from hypothesis import given
from hypothesis import strategies as st

from peluche.reporting.explain import explain
from peluche.reporting.explanation import Token
from peluche.reporting.words import Span, align, read_source, word_of, word_spans


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A cute bear.", ["A", "cute", "bear", "."]),
        ("L'ours n’a pas lu…", ["L'", "ours", "n’", "a", "pas", "lu", "…"]),
        ("It's late!", ["It", "'s", "late", "!"]),
        ("日本 9,5", ["日本", "9", ",", "5"]),
        ("  ", []),
    ],
)
def test_words(text, words):
    assert [text[span.start : span.end] for span in word_spans(text)] == words


@given(st.text())
def test_words_are_the_text_without_spaces_in_order(text):
    spans = word_spans(text)
    kept = "".join(text[span.start : span.end] for span in spans)
    assert kept == "".join(text.split())
    assert all(left.end <= right.start for left, right in pairwise(spans))


def test_a_piece_belongs_to_the_word_it_covers_most():
    words = word_spans("teddy bear.")
    assert word_of(Span(0, 2), words) == 0
    assert word_of(Span(5, 10), words) == 1
    assert word_of(Span(9, 11), words) == 1
    assert word_of(Span(10, 11), words) == 2
    # The space alone belongs to the word that it stands before.
    assert word_of(Span(5, 6), words) == 1
    assert word_of(Span(11, 12), words) is None


@pytest.mark.parametrize("kind", ["word", "character", "byte", "bpe", "wordpiece", "unigram"])
def test_every_word_has_its_tokens_on_both_sides(kind):
    tokenizer = make_tokenizer(kind)
    sentence = "L'élève a lu, it's late!"
    source = read_source(tokenizer, sentence)
    assert source.words == ("L'", "élève", "a", "lu", ",", "it", "'s", "late", "!", "[EOS]")
    assert {token.word for token in source.tokens} - {None} == set(range(len(source.words)))
    places = [token.word for token in source.tokens if token.word is not None]
    assert places == sorted(places)
    explanation = explain(make_model(len(tokenizer)), tokenizer, sentence, decoding=SHORT)
    target = explanation.target
    used = {token.word for token in target.tokens} - {None}
    assert used == set(range(len(target.words)))
    assert [token.id for token in source.tokens] == tokenizer.encode(sentence, eos=True)


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=6),
    st.lists(st.integers(0, 2), min_size=1, max_size=6),
    st.integers(0, 99),
)
def test_alignment_rows_sum_to_one(said, read, seed):
    weights = np.random.default_rng(seed).dirichlet(np.ones(len(read)), len(said)).astype("f4")
    tokens = [[Token("", 0, False, word) for word in words] for words in (read, said)]
    matrix = align(weights, tokens[0], tokens[1], 3, 4)
    assert matrix.shape == (4, 3)
    for word, row in enumerate(matrix):
        assert row.sum() == pytest.approx(1 if word in said else 0, abs=1e-5)


def test_alignment_sums_over_source_pieces_and_averages_over_target_pieces():
    read = [Token("", 0, False, word) for word in (0, 0, 1)]
    said = [Token("", 0, False, word) for word in (0, 1, 1)]
    weights = np.array([[0.5, 0.25, 0.25], [1, 0, 0], [0, 0, 1]], dtype=np.float32)
    assert align(weights, read, said, 2, 2).tolist() == [[0.75, 0.25], [0.5, 0.5]]
    # What goes to a token outside words is shared out among the words.
    outside = [read[0], Token("", 0, False, None), read[2]]
    assert align(weights[:1], outside, said[:1], 2, 1)[0].tolist() == pytest.approx([2 / 3, 1 / 3])
