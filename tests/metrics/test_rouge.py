import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from peluche.metrics import score, sentence_scores

NAMES = ["rouge1", "rouge2", "rougeL"]
SCORER = RougeScorer(NAMES, use_stemmer=False)

texts = st.lists(
    st.sampled_from(
        ["the", "The", "cat", "cats", "sat", "on", "a", "mat.", "é", "ça-va", "42", "-"]
    ),
    max_size=12,
).map(" ".join)


@given(texts, st.lists(texts, min_size=1, max_size=3))
def test_sentence_scores_are_those_of_rouge_score(hypothesis, references):
    expected = SCORER.score_multi(references, hypothesis)
    for found in sentence_scores(NAMES, [hypothesis], [[text] for text in references]):
        assert found.scores == pytest.approx([100 * expected[found.metric].fmeasure], abs=1e-9)


def test_corpus_score_is_the_mean_over_segments():
    hypotheses = ["the cat sat", "a dog", ""]
    references = ["the cat sat on the mat", "a dog barked", "nothing"]
    for found in score(NAMES, hypotheses, references, bootstrap=0):
        each = [
            SCORER.score(reference, hypothesis)[found.metric].fmeasure
            for hypothesis, reference in zip(hypotheses, references, strict=True)
        ]
        assert found.score == pytest.approx(100 * sum(each) / 3, abs=1e-9)


def test_closed_form():
    # Shared: 3 of 3 and of 6 words; 2 of 2 and of 5 pairs; the subsequence is the hypothesis.
    one, two, longest = score(NAMES, ["the cat sat"], ["the cat sat on the mat"], bootstrap=0)
    assert one.score == pytest.approx(100 * 6 / 9)
    assert two.score == pytest.approx(100 * 4 / 7)
    assert longest.score == pytest.approx(100 * 6 / 9)


def test_signature_says_what_is_compared():
    signature = score(["rougeL"], ["a"], [["a"], ["b"]], bootstrap=0)[0].signature
    for part in ("nrefs:2", "case:lc", "stem:no", "measure:f1", "version:peluche-"):
        assert part in signature
