"""Following word2vec through a sentence: one-hot in, hidden, softmax out, and one update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from peluche.errors import ConfigError, DataError
from peluche.models.word_vectors import Word2Vec
from peluche.reporting.explanation import Candidate, Matrix, plain
from peluche.tasks.word_vectors import WordVectors

MAX_WORDS = 20
MAP_NEIGHBOURS = 6


@dataclass(frozen=True)
class Guess:
    """What the model says before and after an update.

    Attributes:
        candidates: the most probable words, best first.
        target: the word that is there.
        rank: its place among all words, 1 for the most probable.
        loss: −ln of its probability.
    """

    candidates: tuple[Candidate, ...]
    target: Candidate
    rank: int
    loss: float


@dataclass(frozen=True)
class WordStep:
    """One prediction.

    Attributes:
        read: the words that go in, as one-hot vectors.
        hidden: (1, D) the mean of their rows of the input table.
        before: softmax of the hidden vector's products with all rows of the output table.
        after: the same after one step of gradient descent on the loss.
    """

    read: tuple[Candidate, ...]
    hidden: Matrix
    before: Guess
    after: Guess


@dataclass(frozen=True)
class WordExplanation:
    """word2vec on a sentence.

    Attributes:
        words: of the sentence, as far as the vocabulary has them.
        unknown: the others, which are not read.
        one_hot: (words, words) cosines of their one-hot vectors.
        learned: (words, words) cosines of their vectors.
        mapped: the words and their nearest neighbours.
        places: (mapped, 2) the first two principal components of their directions.
        rate: of the updates.
    """

    text: str
    architecture: str
    vocabulary: int
    dimensions: int
    words: tuple[str, ...]
    unknown: tuple[str, ...]
    rate: float
    steps: tuple[WordStep, ...]
    one_hot: Matrix
    learned: Matrix
    mapped: tuple[str, ...]
    places: Matrix

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return plain(self)


def explain_words(
    task: WordVectors, sentence: str, *, window: int = 2, rate: float = 0.025, candidates: int = 8
) -> WordExplanation:
    """Predict every word of a sentence from its neighbours, and update once for each.

    Every step starts from the trained model; updates do not add up. The softmax is the full one,
    also where the model was trained with negative sampling.

    Args:
        window: words on either side.
        rate: learning rate of an update.

    Raises:
        ConfigError: the vectors are not of a word2vec model.
        DataError: fewer than two known words, or more than `MAX_WORDS`.
    """
    model, vocabulary = task.model, task.vocabulary
    if not isinstance(model, Word2Vec):
        raise ConfigError(
            "only runs of word2vec have a hidden layer and a softmax to look at",
            remedy="give a run whose model.kind is word2vec",
        )
    numbers = vocabulary.encode(sentence).tolist()
    if not 2 <= len(numbers) <= MAX_WORDS:
        raise DataError(
            f"the sentence has {len(numbers)} words of the vocabulary; a page shows 2 to "
            f"{MAX_WORDS}",
            where=f"'{sentence[:60]}'",
            remedy="give other words, or fewer",
        )
    shown = list(dict.fromkeys(numbers))
    parts = {part for number in shown for part in vocabulary[number].split("_")}
    unknown = [word for word in vocabulary.config.words(sentence) if word not in parts]
    directions = task.directions[shown]
    mapped = list(
        dict.fromkeys(
            [*shown]
            + [
                vocabulary.number(neighbour.word)
                for number in shown
                for neighbour in task.similar(vocabulary[number], MAP_NEIGHBOURS)
            ]
        )
    )
    return WordExplanation(
        text=sentence,
        architecture=model.config.architecture,
        vocabulary=len(vocabulary),
        dimensions=model.config.dimensions,
        words=tuple(vocabulary[number] for number in shown),
        unknown=tuple(dict.fromkeys(unknown)),
        rate=rate,
        steps=tuple(
            _step(model, task, read, numbers[place], rate, candidates)
            for place in range(len(numbers))
            for read in _reads(numbers, place, window, model.config.architecture)
        ),
        one_hot=np.eye(len(shown), dtype=np.float32),
        learned=(directions @ directions.t()).numpy(),
        mapped=tuple(vocabulary[number] for number in mapped),
        places=principal_components(task.directions[mapped]),
    )


def _reads(numbers: list[int], place: int, window: int, architecture: str) -> list[list[int]]:
    around = [*numbers[max(0, place - window) : place], *numbers[place + 1 : place + 1 + window]]
    return [[word] for word in around] if architecture == "skipgram" else [around]


@torch.no_grad()
def _step(
    model: Word2Vec, task: WordVectors, read: list[int], target: int, rate: float, count: int
) -> WordStep:
    context = torch.tensor([read], device=model.inputs.weight.device)
    hidden = model.hidden(context, torch.ones_like(context, dtype=torch.bool))[0]
    logits = model.logits(hidden[None])[0]
    # Softmax minus one-hot: the gradient of the loss in the logits.
    slope = logits.softmax(-1)
    slope[target] -= 1
    moved = hidden - rate * (slope @ model.outputs.weight)
    # Rows of the output table move by −rate · slope · hidden, all of them.
    updated = model.logits(moved[None])[0] - rate * slope * (hidden @ moved)
    words = tuple(Candidate(task.vocabulary[number], number, 1.0 / len(read)) for number in read)

    def guess(scores: Tensor) -> Guess:
        log = scores.log_softmax(-1)
        best = log.topk(min(count, len(log))).indices.tolist()
        named = [Candidate(task.vocabulary[n], n, float(log[n].exp())) for n in (*best, target)]
        rank = int((log > log[target]).sum()) + 1
        return Guess(tuple(named[:-1]), named[-1], rank, -float(log[target]))

    return WordStep(words, hidden[None].cpu().numpy(), guess(logits), guess(updated))


def principal_components(vectors: Tensor) -> NDArray[np.float32]:
    """(N, 2) the rows' places along the two directions in which they differ most (Pearson 1901).

    Signs are chosen so that the largest place along either is positive.
    """
    centred = (vectors - vectors.mean(0)).double()
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    places = nn.functional.pad(centred @ axes[:2].t(), (0, 2))[:, :2]
    largest = places.gather(0, places.abs().argmax(0, keepdim=True))
    return (places * torch.where(largest < 0, -1.0, 1.0)).float().numpy()
