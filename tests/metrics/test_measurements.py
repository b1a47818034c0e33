"""Measurements: the same scores and comparisons as by name, and what does not compare."""

import pytest

from peluche.errors import DataError
from peluche.metrics import compare, compare_measurements, measure, score
from peluche.metrics.entities import measure_entities, measure_tagging

GOLD = ["a soft bear reads", "two cats sleep", "the dog runs", "a warm night"] * 5
ONE = ["a soft bear reads", "two cats", "the dog ran", "a warm night"] * 5
OTHER = ["soft bear", "two cats sleep", "dog", "a night"] * 5


def test_they_score_and_compare_as_by_name():
    names = ["bleu", "wer"]
    one, other = measure(names, ONE, GOLD), measure(names, OTHER, GOLD)
    assert [found.score(200) for found in one] == score(names, ONE, GOLD, bootstrap=200)
    expected = compare(names, {"other": OTHER, "one": ONE}, GOLD, bootstrap=200)
    assert compare_measurements(("other", other), ("one", one), bootstrap=200) == expected


def test_systems_that_say_different_tags_compare_if_measured_over_the_same():
    gold = [["B-x", "O"], ["O", "B-y"]]
    one, other = [["B-x", "O"], ["O", "O"]], [["B-z", "O"], ["O", "B-y"]]
    kinds = ["x", "y", "z"]
    measured = [measure_entities(said, gold, kinds) for said in (one, other)]
    (f1,) = [
        found
        for found in compare_measurements(("one", measured[0]), ("other", measured[1]))
        if found.metric == "f1_micro"
    ]
    assert (round(f1.baseline_score, 2), f1.score) == (66.67, 50)
    tags = ["B-x", "B-y", "B-z", "O"]
    measured = [measure_tagging(said, gold, tags) for said in (one, other)]
    assert len(compare_measurements(("one", measured[0]), ("other", measured[1]))) == 16


def test_what_cannot_be_compared_says_why():
    with pytest.raises(DataError, match="one was measured on 20 segments and other on 4"):
        compare_measurements(
            ("other", measure(["bleu"], OTHER[:4], GOLD[:4])), ("one", measure(["bleu"], ONE, GOLD))
        )
    with pytest.raises(DataError, match="no metric in common"):
        compare_measurements(
            ("other", measure(["wer"], OTHER, GOLD)), ("one", measure(["bleu"], ONE, GOLD))
        )
