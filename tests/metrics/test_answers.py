"""SQuAD's scores, by hand."""

import pytest

from peluche.errors import DataError
from peluche.metrics.answers import measure_answers, normalized, overlap


def scores(answers, references):
    found = [one.score(bootstrap=0) for one in measure_answers(answers, references)]
    return {one.metric: one.score for one in found}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Bear!", "bear"),
        ("an  apple, a day", "apple day"),
        ("theatre", "theatre"),
        ("U.S.", "us"),
        ("the", ""),
    ],
)
def test_what_does_not_count(text, expected):
    assert normalized(text) == expected


def test_words_in_common():
    assert overlap("the red bear", "red bear") == 1
    # Two of three said, two of two true: 2·2 / (3 + 2); words that are there twice count twice.
    assert overlap("a small red bear", "red bear") == pytest.approx(0.8)
    assert overlap("bear bear", "bear") == pytest.approx(2 / 3)
    assert overlap("", "") == 1
    assert overlap("", "bear") == overlap("bear", "the") == 0


def test_the_best_reference_counts():
    found = scores(["The bear", "small red bear"], [["a bear", "toy"], ["toy", "red bear"]])
    assert found == {"exact_match": 50, "f1": pytest.approx(100 * (1 + 0.8) / 2)}


def test_questions_without_answer():
    found = scores(["", "bear", "bear", ""], [[], [], ["bear"], ["bear", "the"]])
    assert found == {
        "exact_match": 50, "f1": 50,
        "exact_match[answerable]": 50, "f1[answerable]": 50,
        "exact_match[unanswerable]": 50, "f1[unanswerable]": 50,
    }  # fmt: skip


def test_intervals_and_bad_input():
    exact, f1 = (one.score(bootstrap=200) for one in measure_answers(["a b"] * 9, [["b"]] * 9))
    assert (exact.ci, f1.score) == ((100, 100), 100)
    for answers in ([], ["one"]):
        with pytest.raises(DataError):
            measure_answers(answers, [])
