"""First words as a summary: how many, and what they score."""

import pytest

from peluche.data.pairs import Pair
from peluche.errors import ConfigError
from peluche.evaluation.lead import best_length, evaluate_lead, lead, usual_length
from peluche.tasks.evaluation import EvaluationSettings
from peluche.tasks.summarise import Summariser

# Half of the summary stands at the beginning, the rest nowhere; then a summary of four words.
TRAIN = [
    Pair("one two three four five six", "one two nine", "a:1"),
    Pair("red green blue white", "red green black pink cyan", "a:2"),
]


def test_lengths():
    assert lead(["one  two\tthree", ""], 2) == ["one two", ""]
    assert usual_length(TRAIN) == 4
    # ROUGE-1 of one word: 2/4 and 2/6; of two: 4/5 and 4/7; of three: 4/6 and 4/8.
    assert best_length(TRAIN) == 2


def test_scores_are_those_of_the_formula(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("".join(f'"{pair.source}","{pair.target}"\n' for pair in TRAIN))
    task = Summariser(None, None, decoder=object())
    task.settings = EvaluationSettings(train={"kind": "csv", "path": str(path)})
    found = evaluate_lead(task, TRAIN)
    assert list(found) == ["first 4 words", "first 2 words"]
    rouge1, rouge2, rouge_l = (score.score for score in found["first 2 words"].scores(0))
    assert rouge1 == rouge_l == pytest.approx(100 * (4 / 5 + 4 / 7) / 2)
    assert rouge2 == pytest.approx(100 * (2 / 3 + 2 / 5) / 2)


def test_a_model_without_training_data_has_no_such_baseline():
    with pytest.raises(ConfigError, match="names no training data"):
        evaluate_lead(Summariser(None, None, decoder=object()), TRAIN)
