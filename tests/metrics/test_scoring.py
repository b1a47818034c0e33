import json
import math

import numpy as np
import pytest

from peluche.errors import ConfigError, DataError
from peluche.metrics import (
    METRICS,
    Perplexity,
    compare,
    compare_statistics,
    perplexity,
    score,
    score_statistics,
)


def test_one_list_of_references_or_several():
    one = score(["bleu"], ["a b c d"], ["a b c d"], bootstrap=0)
    assert one == score(["bleu"], ["a b c d"], [["a b c d"]], bootstrap=0)
    assert "nrefs:2" in score(["bleu"], ["a"], [["a"], ["b"]], bootstrap=0)[0].signature


def test_scores_come_in_the_order_of_the_names():
    names = list(METRICS)
    assert [found.metric for found in score(names, ["a b"], ["a b"], bootstrap=0)] == names


def test_as_json():
    found = score(["wer"], ["a b"], ["a c"], bootstrap=10)[0].as_json()
    assert list(found) == ["metric", "score", "signature", "ci"]
    assert json.loads(json.dumps(found))["ci"] == [50, 50]
    assert score(["wer"], ["a"], ["a"], bootstrap=0)[0].as_json()["ci"] is None
    compared = compare(["wer"], {"x": ["a"], "y": ["b"]}, ["a"], bootstrap=10)[0].as_json()
    assert (compared["baseline"], compared["difference"]) == ("x", 100)


@pytest.mark.parametrize("name", METRICS)
def test_metrics_are_bounded_by_equal_and_empty_hypotheses(name):
    references = ["The bear reads a good book.", "A child sleeps on the chair, quietly."]
    equal, empty = (
        score([name], texts, references, bootstrap=0)[0].score for texts in (references, ["", ""])
    )
    assert empty == pytest.approx(100 if name in ("wer", "ter") else 0)
    assert equal == pytest.approx(0 if name in ("wer", "ter") else 100, abs=0.5)


def test_unknown_metric():
    with pytest.raises(ConfigError, match=r"unknown metric 'blue'(.|\n)*did you mean 'bleu'"):
        score(["blue"], ["a"], ["a"])


def test_unknown_option():
    with pytest.raises(ConfigError, match="did you mean 'lowercase'"):
        score(["bleu"], ["a"], ["a"], lower_case=True)


def test_unknown_tokenizer():
    with pytest.raises(ConfigError, match="'13a', 'intl', 'zh', 'char' or 'none'"):
        score(["bleu"], ["a"], ["a"], tokenize="moses")


def test_unequal_counts():
    with pytest.raises(DataError, match=r"2 hypotheses but 3 references(.|\n)*list 2 of 2"):
        score(["bleu"], ["a", "b"], [["a", "b"], ["a", "b", "c"]])
    with pytest.raises(DataError, match=r"1 hypotheses but 2 references(.|\n)*system short"):
        compare(["bleu"], {"long": ["a", "b"], "short": ["a"]}, ["a", "b"])
    with pytest.raises(DataError, match="1 hypotheses but 0 references"):
        score(["bleu"], ["a"], [])


def test_no_hypotheses():
    with pytest.raises(DataError, match="no hypotheses"):
        score(["bleu"], [], [])


def test_impossible_resamples():
    with pytest.raises(ConfigError, match="cannot draw -1 resamples"):
        score(["bleu"], ["a"], ["a"], bootstrap=-1)
    with pytest.raises(ConfigError, match="cannot draw 0 resamples"):
        compare(["bleu"], {"x": ["a"], "y": ["b"]}, ["a"], bootstrap=0)


def test_one_system_cannot_be_compared():
    with pytest.raises(ConfigError, match="nothing to compare"):
        compare(["bleu"], {"x": ["a"]}, ["a"])


def test_perplexity_closed_forms():
    assert perplexity(0.0, 5) == 1
    assert perplexity(10 * math.log(8), 10) == pytest.approx(8)
    assert perplexity(1e6, 1) == math.inf
    with pytest.raises(DataError, match="perplexity of 0 tokens"):
        perplexity(1.0, 0)


def test_perplexity_has_intervals_and_comparisons():
    generator = np.random.default_rng(0)
    tokens = generator.integers(5, 30, size=200)
    good, bad = (
        np.stack([tokens * level + generator.normal(size=200), tokens], axis=1)
        for level in (2.0, 2.2)
    )
    found = score_statistics(Perplexity(), good, bootstrap=200)
    assert found.score == pytest.approx(perplexity(good[:, 0].sum(), good[:, 1].sum()))
    assert found.ci[0] < found.score < found.ci[1]
    assert found.signature.startswith("bs:200|seed:12345|unit:token|")
    compared = compare_statistics(Perplexity(), ("bad", bad), ("good", good), bootstrap=200)
    assert compared.difference < 0
    assert compared.p_value < 0.05
