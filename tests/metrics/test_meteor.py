import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.stem.api import StemmerI
from nltk.stem.snowball import SnowballStemmer
from nltk.translate.meteor_score import meteor_score

from peluche.errors import ConfigError, MissingExtraError
from peluche.metrics import score
from peluche.metrics.meteor import align, chunks

VOCABULARY = [
    *("the", "a", "bear", "bears", "reads", "reading", "read", "book", "books", "big"),
    *("small", "quickly", "child", "children"),
]
# Words all different leave no choice of alignment.
distinct = st.lists(st.sampled_from(VOCABULARY), unique=True, max_size=10)
repeating = st.lists(st.sampled_from("abc"), max_size=10)


class NoSynonyms:
    def synsets(self, word):
        return []


class Identity(StemmerI):
    def stem(self, token):
        return token


def meteor(hypothesis, references, **options):
    lists = [[text] for text in references]
    return score(["meteor"], [hypothesis], lists, bootstrap=0, **options)[0]


@given(distinct, st.lists(distinct, min_size=1, max_size=3))
def test_exact_stage_is_that_of_nltk(hypothesis, references):
    expected = meteor_score(references, hypothesis, stemmer=Identity(), wordnet=NoSynonyms())
    found = meteor(" ".join(hypothesis), map(" ".join, references))
    assert found.score == pytest.approx(100 * expected, abs=1e-9)


def without_shared_stems(words):
    stems = [SnowballStemmer("english").stem(word) for word in words]
    return len(set(stems)) == len(stems)


@given(distinct.filter(without_shared_stems), distinct.filter(without_shared_stems))
def test_stem_stage_is_that_of_nltk(hypothesis, reference):
    stemmer = SnowballStemmer("english")
    expected = meteor_score([reference], hypothesis, stemmer=stemmer, wordnet=NoSynonyms())
    found = meteor(" ".join(hypothesis), [" ".join(reference)], stem="english")
    assert found.score == pytest.approx(100 * expected, abs=1e-9)


def test_closed_form():
    # Five of six words match in two chunks: P = 5/6, R = 5/5.
    found = meteor("le petit ours brun lit bien", ["lit bien le petit ours"]).score
    mean = 10 * (5 / 6) * 1 / (1 + 9 * 5 / 6)
    assert found == pytest.approx(100 * mean * (1 - 0.5 * (2 / 5) ** 3))
    assert meteor("un ours lit", ["un ours lit"]).score == pytest.approx(100 * (1 - 0.5 / 27))
    assert meteor("rien", ["tout autre"]).score == 0
    assert meteor("", [""]).score == 0


def test_repeated_words_are_paired_in_long_runs():
    hypothesis = ["the", "cat", "sat", "on", "the", "mat"]
    reference = ["on", "the", "mat", "the", "cat", "sat"]
    pairs = align(hypothesis, reference, [str])
    assert pairs == [(0, 3), (1, 4), (2, 5), (3, 0), (4, 1), (5, 2)]
    assert chunks(pairs) == 2


@given(repeating, repeating)
def test_alignment_pairs_all_that_can_be(hypothesis, reference):
    pairs = align(hypothesis, reference, [str])
    assert len(pairs) == (Counter(hypothesis) & Counter(reference)).total()
    assert all(hypothesis[i] == reference[j] for i, j in pairs)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)


@given(repeating.filter(bool))
def test_a_text_aligned_with_itself_is_one_chunk(words):
    assert chunks(align(words, words, [str])) == 1


def test_exact_matches_go_before_stem_matches():
    stem = SnowballStemmer("english").stem
    assert align(["reading", "reads"], ["reads", "x"], [str, stem]) == [(1, 0)]


def test_french_stems_match():
    texts = "les ours lisaient", ["un ours lisait"]
    assert meteor(*texts).score < meteor(*texts, stem="french").score


def test_signature_says_which_stages():
    assert "stages:exact|" in meteor("a", ["a"]).signature
    assert "stages:exact+stem[french]|" in meteor("a", ["a"], stem="french").signature


def test_unknown_stemmer():
    with pytest.raises(ConfigError, match="did you mean 'french'"):
        meteor("a", ["a"], stem="frensh")


def test_stems_need_nltk(monkeypatch):
    monkeypatch.setitem(sys.modules, "nltk.stem.snowball", None)
    with pytest.raises(MissingExtraError, match="peluche\\[meteor\\]"):
        meteor("a", ["a"], stem="french")
