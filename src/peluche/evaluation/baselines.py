"""What a classifier has to beat: the commonest label, and linear models of n-grams."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from peluche.config import parse_as
from peluche.data.labelled import LabelledText, TextSource
from peluche.errors import ConfigError, MissingExtraError
from peluche.metrics.classification import measure_classification, split_averages
from peluche.tasks.classify import TextClassifier
from peluche.tasks.evaluation import Evaluation, Say, read_examples

# Words, and every other character alone: "n't" and "!" tell much about an opinion.
TOKEN = r"\w+|[^\w\s]"
NGRAMS = (1, 2)
SMOOTHING, COST, INTERPOLATION = 1.0, 1.0, 0.25


def majority(train: Sequence[LabelledText], texts: Sequence[LabelledText]) -> list[str]:
    """The commonest label of `train` for every text; the first in order if several are."""
    counts = Counter(example.label for example in train)
    commonest = min(counts, key=lambda label: (-counts[label], label))
    return [commonest] * len(texts)


def logistic_regression(train: Sequence[LabelledText], texts: Sequence[LabelledText]) -> list[str]:
    """Logistic regression of tf-idf of words and word pairs.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    sklearn = _sklearn()
    vectorizer = sklearn.TfidfVectorizer(token_pattern=TOKEN, ngram_range=NGRAMS, sublinear_tf=True)
    features = vectorizer.fit_transform(_joined(train))
    model = sklearn.LogisticRegression(C=10.0, max_iter=1000)
    model.fit(features, [example.label for example in train])
    return [str(label) for label in model.predict(vectorizer.transform(_joined(texts)))]


def nb_svm(train: Sequence[LabelledText], texts: Sequence[LabelledText]) -> list[str]:
    """A linear SVM on n-grams that are weighted as naive Bayes would (Wang & Manning 2012).

    Words and word pairs that occur count 1, times the logarithm of how much likelier they are under
    a label than under the others; the SVM's weights are drawn towards their mean size (eq. 8 and
    9, with the paper's α = 1, C = 1, β = 1/4). With more than two labels, one against the rest.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    sklearn = _sklearn()
    vectorizer = sklearn.CountVectorizer(token_pattern=TOKEN, ngram_range=NGRAMS, binary=True)
    features = vectorizer.fit_transform(_joined(train)).astype(np.float64)
    held_out = vectorizer.transform(_joined(texts)).astype(np.float64)
    gold = np.array([example.label for example in train])
    labels = sorted(set(gold.tolist()))
    if len(labels) == 1:
        return labels * len(texts)
    margins = []
    # With two labels, the second against the first says all.
    for label in labels[1:] if len(labels) == 2 else labels:
        positive = gold == label
        ratio = _log_count_ratio(features, positive)
        model = sklearn.LinearSVC(C=COST, random_state=0).fit(
            features.multiply(ratio).tocsr(), positive
        )
        weights = model.coef_[0]
        mean = np.abs(weights).mean()
        weights = (1 - INTERPOLATION) * mean + INTERPOLATION * weights
        margins.append(held_out.multiply(ratio).tocsr() @ weights + model.intercept_[0])
    if len(labels) == 2:
        return [labels[int(margin > 0)] for margin in margins[0]]
    return [labels[best] for best in np.argmax(margins, 0)]


def _log_count_ratio(features: Any, positive: Any) -> Any:
    inside = SMOOTHING + np.asarray(features[positive].sum(0))[0]
    outside = SMOOTHING + np.asarray(features[~positive].sum(0))[0]
    return np.log(inside / inside.sum()) - np.log(outside / outside.sum())


def _sklearn() -> SimpleNamespace:
    try:
        from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.svm import LinearSVC
    except ImportError:
        raise MissingExtraError(
            "baselines need scikit-learn, which is not installed",
            remedy="pip install 'peluche[baselines]'",
        ) from None
    return SimpleNamespace(
        CountVectorizer=CountVectorizer,
        TfidfVectorizer=TfidfVectorizer,
        LogisticRegression=LogisticRegression,
        LinearSVC=LinearSVC,
    )


def _joined(texts: Sequence[LabelledText]) -> list[str]:
    return [" ".join(example.texts) for example in texts]


BASELINES: dict[str, Callable[..., list[str]]] = {
    "majority": majority,
    "logistic regression": logistic_regression,
    "NB-SVM": nb_svm,
}


def evaluate_baselines(
    task: TextClassifier, examples: Sequence[LabelledText], say: Say = lambda message: None
) -> dict[str, Evaluation]:
    """Each baseline, trained on the data that the run was trained on, on the same examples.

    Raises:
        ConfigError: the task does not classify, or its run names no training data.
        MissingExtraError: scikit-learn is not installed.
    """
    if not isinstance(task, TextClassifier):
        raise ConfigError(
            "there are baselines for classifiers and summarisers alone", remedy="leave them out"
        )
    if not task.settings.train:
        raise ConfigError(
            "this model's run names no training data", remedy="name a run that peluche trained"
        )
    source = parse_as(TextSource, task.settings.train, where="the run's training data")
    train = read_examples(source, say)
    gold, labels = [example.label for example in examples], list(task.labels)
    found = {}
    for name, baseline in BASELINES.items():
        started = time.perf_counter()
        said = baseline(train, examples)
        seconds = time.perf_counter() - started
        averages, _ = split_averages(measure_classification(said, gold, labels))
        found[name] = Evaluation(averages, [], seconds, labels)
    return found
