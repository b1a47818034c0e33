"""Baselines against counts by hand and a second way to compute them, and what they need."""

import builtins

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.svm import LinearSVC

from peluche.data.labelled import LabelledText
from peluche.errors import ConfigError, MissingExtraError
from peluche.evaluation.baselines import BASELINES, evaluate_baselines, majority, nb_svm
from peluche.tasks.classify import TextClassifier


def texts(*rows):
    return [LabelledText(text, label, f"t:{n}") for n, (text, label) in enumerate(rows, 1)]


TRAIN = texts(
    ("a soft and warm bear", "good"),
    ("not a dull film", "good"),
    ("warm and lovely", "good"),
    ("a dull film", "bad"),
    ("cold and grim", "bad"),
    ("not a warm film", "bad"),
    ("where is the bear", "question"),
    ("who is it ?", "question"),
)
HELD_OUT = texts(
    ("soft and lovely and warm", "good"),
    ("grim and dull", "bad"),
    ("who is the bear ?", "question"),
)


def test_majority_is_the_commonest_label():
    assert majority(TRAIN, HELD_OUT) == ["bad"] * 3  # as common as good, and before it
    assert majority(TRAIN[:4], HELD_OUT) == ["good"] * 3


@pytest.mark.parametrize("name", ["logistic regression", "NB-SVM"])
def test_linear_models_learn_words(name):
    assert BASELINES[name](TRAIN, HELD_OUT) == ["good", "bad", "question"]


def test_nb_svm_of_two_labels_equals_the_papers_formulas():
    """Wang & Manning (2012), eq. 2, 8 and 9, with loops in place of sparse matrices."""
    train = TRAIN[:6]
    vectorizer = CountVectorizer(token_pattern=r"\w+|[^\w\s]", ngram_range=(1, 2), binary=True)
    features = vectorizer.fit_transform([example.text for example in train]).toarray()
    positive = np.array([example.label == "good" for example in train])
    p = 1 + sum(features[i] for i in range(6) if positive[i])
    q = 1 + sum(features[i] for i in range(6) if not positive[i])
    r = np.log((p / abs(p).sum()) / (q / abs(q).sum()))
    svm = LinearSVC(C=1.0, random_state=0).fit(features * r, positive)
    w = svm.coef_[0]
    w = 0.75 * abs(w).sum() / len(w) + 0.25 * w
    held_out = vectorizer.transform([example.text for example in HELD_OUT]).toarray()
    expected = ["good" if row * r @ w + svm.intercept_[0] > 0 else "bad" for row in held_out]
    assert nb_svm(train, HELD_OUT) == expected


def test_one_label_needs_no_model():
    assert nb_svm(TRAIN[:3], HELD_OUT) == ["good"] * 3


def test_they_need_scikit_learn(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match="scikit-learn"):
        nb_svm(TRAIN, HELD_OUT)


def test_they_belong_to_classifiers_with_a_run():
    with pytest.raises(ConfigError, match="classifiers and summarisers"):
        evaluate_baselines(object(), HELD_OUT)
    with pytest.raises(ConfigError, match="names no training data"):
        evaluate_baselines(TextClassifier(None, None, None), HELD_OUT)
