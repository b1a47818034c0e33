import numpy as np
import pytest
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest

from peluche.metrics import compare, compare_statistics, resampling, score
from peluche.metrics.error_rate import ExactMatch, WordErrorRate
from peluche.metrics.registry import METRICS
from peluche.metrics.resampling import bootstrap_interval, resampled_sums

WORDS = ["un", "ours", "petit", "brun", "lit", "dort", "mange", "joue", "la", "le", "fille", "chat"]


def corpus(count, errors, seed=1):
    """References, and hypotheses in which each word is wrong with probability `errors`."""
    words = np.random.default_rng(0)
    references = [words.choice(WORDS, size=words.integers(4, 12)) for _ in range(count)]
    noise = np.random.default_rng(seed)
    hypotheses = [
        np.where(noise.random(len(line)) < errors, noise.choice(WORDS, len(line)), line)
        for line in references
    ]
    return [" ".join(line) for line in hypotheses], [" ".join(line) for line in references]


def test_a_resample_is_n_draws_with_replacement():
    statistics = np.eye(7)
    sums = resampled_sums(statistics, 50, seed=1)
    assert sums.shape == (50, 7)
    assert (sums.sum(1) == 7).all()
    assert len(np.unique(sums, axis=0)) > 40


def test_resamples_do_not_depend_on_the_block_size(monkeypatch):
    statistics = np.random.default_rng(0).integers(0, 9, size=(13, 3)).astype(float)
    whole = resampled_sums(statistics, 40, seed=5)
    monkeypatch.setattr(resampling, "BLOCK", 13 * 7)
    np.testing.assert_array_equal(resampled_sums(statistics, 40, seed=5), whole)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_has_an_interval_around_its_score(name):
    hypotheses, references = corpus(60, errors=0.2)
    first = score([name], hypotheses, references, bootstrap=300)[0]
    again = score([name], hypotheses, references, bootstrap=300)[0]
    other = score([name], hypotheses, references, bootstrap=300, seed=1)[0]
    assert first == again
    assert first.ci[0] < first.score < first.ci[1]
    assert other.ci != first.ci
    assert "bs:300|seed:12345" in first.signature


def test_interval_of_a_mean_is_that_of_the_normal_distribution():
    right = np.random.default_rng(0).random(1000) < 0.3
    statistics = np.stack([right, np.ones(1000)], axis=1).astype(float)
    low, high = bootstrap_interval(ExactMatch(), statistics, 4000, seed=0)
    share = right.mean()
    width = 100 * 2 * 1.96 * np.sqrt(share * (1 - share) / 1000)
    assert high - low == pytest.approx(width, rel=0.08)


@pytest.mark.parametrize("test", ["bootstrap", "randomization"])
@pytest.mark.parametrize("name", METRICS)
def test_every_metric_tells_a_better_system(name, test):
    good, references = corpus(80, errors=0.05)
    bad, _ = corpus(80, errors=0.5)
    systems = {"bad": bad, "good": good, "bad again": bad}
    better, same = compare([name], systems, references, bootstrap=200, test=test)
    assert (better.baseline, better.system, same.system) == ("bad", "good", "bad again")
    assert better.p_value < 0.01
    assert (better.difference < 0) == (name in ("wer", "ter"))
    assert better.difference == better.score - better.baseline_score
    assert (same.difference, same.p_value) == (0, 1)
    if test == "bootstrap":
        assert better.ci[0] < better.difference < better.ci[1]
    else:
        assert better.ci is None
        assert "ar:200" in better.signature


@pytest.mark.parametrize("test", ["bootstrap", "randomization"])
def test_equal_systems_are_called_different_in_one_case_of_twenty(test):
    generator = np.random.default_rng(0)
    found = []
    for _ in range(300):
        pair = generator.integers(0, 5, size=(2, 100)).astype(float)
        statistics = [np.stack([edits, np.full(100, 10.0)], axis=1) for edits in pair]
        named = [("one", statistics[0]), ("other", statistics[1])]
        result = compare_statistics(WordErrorRate(), *named, bootstrap=200, test=test)
        found.append(result.p_value)
    # 300 draws with probability 0.05: 15 expected, within four standard deviations.
    assert 2 <= sum(p < 0.05 for p in found) <= 30
    assert np.mean(found) == pytest.approx(0.5, abs=0.07)


def test_randomization_is_that_of_sacrebleu():
    one, references = corpus(100, errors=0.20)
    other, _ = corpus(100, errors=0.20, seed=2)
    named = [("one", one), ("other", other)]
    _, theirs = PairedTest(named, {"BLEU": BLEU()}, [references], test_type="ar", n_samples=500)()
    ours = compare(["bleu"], dict(named), references, bootstrap=500, test="randomization")[0]
    assert 0.01 < ours.p_value < 0.99
    assert ours.p_value == pytest.approx(theirs["BLEU"][1].p_value)
