"""Scores of trees against closed forms."""

import pytest

from peluche.errors import DataError
from peluche.metrics.parsing import Attachments, Bracket, measure_attachments, measure_brackets
from peluche.metrics.scoring import scores_of

# the bear reads a book
GOLD = Attachments([2, 3, 0, 5, 3], ["det", "nsubj", "root", "det", "obj"])


def by_name(measured):
    return {score.metric: score.score for score in scores_of(measured, bootstrap=0)}


def test_attachments():
    said = Attachments([2, 3, 0, 3, 3], ["det", "nsubj:pass", "root", "det", "iobj"])
    assert by_name(measure_attachments([said], [GOLD])) == {"uas": 80, "las": 60}
    strict = measure_attachments([said], [GOLD], subtypes=True)
    assert by_name(strict) == {"uas": 80, "las": 40}


def test_attachments_need_the_same_tokens():
    with pytest.raises(DataError, match="1 predicted but 5 gold tokens"):
        measure_attachments([Attachments([0], ["root"])], [GOLD])


def test_brackets():
    gold = [Bracket(0, 5, "S"), Bracket(0, 2, "NP"), Bracket(2, 5, "VP"), Bracket(3, 5, "NP")]
    said = [Bracket(0, 5, "S"), Bracket(0, 2, "NP"), Bracket(2, 5, "NP")]
    found = by_name(measure_brackets([said, gold], [gold, gold]))
    assert found["precision_micro"] == pytest.approx(100 * 6 / 7)
    assert found["recall_micro"] == 75
    assert found["f1_micro"] == pytest.approx(100 * 12 / 15)
    assert found["exact_match"] == 50


def test_a_bracket_twice_counts_twice():
    twice = [Bracket(0, 1, "NP"), Bracket(0, 1, "NP")]
    found = by_name(measure_brackets([twice], [twice[:1]]))
    assert found["precision_micro"] == 50
    assert found["recall_micro"] == 100


def test_no_trees_are_an_error():
    with pytest.raises(DataError):
        measure_brackets([], [])
