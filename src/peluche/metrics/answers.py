"""Exact match and F1 of answers, as SQuAD's evaluation has them (Rajpurkar et al. 2016, §6.1)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

from peluche.errors import DataError
from peluche.metrics.base import Array
from peluche.metrics.counts import Share
from peluche.metrics.scoring import Measurement

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized(answer: str) -> str:
    """In lower case, without ASCII punctuation, articles and superfluous spaces."""
    return " ".join(ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split())


def overlap(answer: str, reference: str) -> float:
    """F1, in 0..1, of the words that both have; of two of which one is empty, whether both are."""
    said, true = normalized(answer).split(), normalized(reference).split()
    if not said or not true:
        return float(said == true)
    both = sum((Counter(said) & Counter(true)).values())
    return 2 * both / (len(said) + len(true))


def measure_answers(
    answers: Sequence[str], references: Sequence[Sequence[str]]
) -> list[Measurement]:
    """Exact match and F1 over questions, of each the best over its references.

    Where some questions have no answer, also over those with and over those without one
    (Rajpurkar et al. 2018).

    Args:
        answers: "" for none.
        references: none for a question without answer.

    Raises:
        DataError: not as many answers as questions, or no questions.
    """
    if len(answers) != len(references) or not answers:
        raise DataError(f"{len(answers)} answers to {len(references)} questions")
    # A reference that is nothing but articles counts as none, as it does there.
    true = [[text for text in texts if normalized(text)] or [""] for texts in references]
    exact = [
        float(any(normalized(answer) == normalized(text) for text in texts))
        for answer, texts in zip(answers, true, strict=True)
    ]
    f1 = [
        max(overlap(answer, text) for text in texts)
        for answer, texts in zip(answers, true, strict=True)
    ]
    answerable = np.array([texts != [""] for texts in true])
    groups = {"": np.ones(len(true), dtype=bool)}
    if 0 < answerable.sum() < len(true):
        groups |= {"[answerable]": answerable, "[unanswerable]": ~answerable}
    return [
        Measurement(Share(f"{name}{group}", "question"), _shares(values, rows))
        for group, rows in groups.items()
        for name, values in (("exact_match", exact), ("f1", f1))
    ]


def _shares(values: Sequence[float], rows: np.ndarray) -> Array:
    return np.stack([np.where(rows, values, 0.0), rows.astype(np.float64)], 1)
