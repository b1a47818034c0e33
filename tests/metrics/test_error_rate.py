import pytest
from hypothesis import given
from hypothesis import strategies as st

from peluche.metrics import score, sentence_scores

sentences = st.lists(st.sampled_from("abc"), max_size=8).map(" ".join)


def only(name, hypotheses, references, **options):
    return score([name], hypotheses, references, bootstrap=0, **options)[0].score


@pytest.mark.parametrize(
    ("hypothesis", "reference", "expected"),
    [
        ("un ours lit", "un ours lit", 0),
        ("un ours dort", "un ours lit", 100 / 3),  # substitution
        ("un ours", "un ours lit", 100 / 3),  # deletion
        ("un gros ours lit", "un ours lit", 100 / 3),  # insertion
        ("", "un ours lit", 100),
        ("lit ours un", "un ours lit", 200 / 3),
        ("a b c d", "x", 400),
        ("", "", 0),
        ("a b", "", 100),
    ],
)
def test_word_error_rate_closed_forms(hypothesis, reference, expected):
    assert only("wer", [hypothesis], [reference]) == pytest.approx(expected)


def test_corpus_rate_is_edits_over_words():
    # 1 of 1 word and 1 of 9 words: 2 of 10, not the mean of the rates.
    assert only("wer", ["x", "a b c d e f g h x"], ["a", "a b c d e f g h i"]) == pytest.approx(20)


def test_best_reference_counts():
    references = [["a b c d", "x"], ["a x", "y"]]
    assert only("wer", ["a b c", "x"], references) == pytest.approx(100 / 5)
    assert only("exact_match", ["a x", "z"], references) == 50


def test_options():
    assert only("wer", ["Un ours"], ["un Ours"]) == 100
    assert only("wer", ["Un ours"], ["un Ours"], lowercase=True) == 0
    assert only("wer", ["chat"], ["chats"], tokenize="char") == pytest.approx(20)
    assert only("wer", ["Oui."], ["Oui ."], tokenize="13a") == 0
    assert only("exact_match", ["Oui"], ["oui"]) == 0
    assert only("exact_match", ["Oui "], [" oui"], lowercase=True) == 100


@given(st.lists(st.tuples(sentences, sentences), min_size=1, max_size=5))
def test_exact_match_and_error_rate_agree(pairs):
    hypotheses, references = zip(*pairs, strict=True)
    wer, exact = sentence_scores(["wer", "exact_match"], hypotheses, references)
    assert [rate == 0 for rate in wer.scores] == [share == 100 for share in exact.scores]
