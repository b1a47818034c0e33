"""Word vectors: what is alike, what is to this as that is to those, and tests of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from peluche.data.word_tests import Analogy, WordTest, read_word_test
from peluche.errors import DataError
from peluche.hub.word2vec_format import read_vectors, write_vectors
from peluche.metrics import Score
from peluche.metrics.correlation import Spearman
from peluche.metrics.counts import Share
from peluche.metrics.scoring import score_statistics
from peluche.text.vocabulary import Vocabulary

BLOCK = 512


class Neighbour(NamedTuple):
    """A word and the cosine of the angle between its vector and the one asked about."""

    word: str
    similarity: float

    def as_json(self) -> dict[str, Any]:
        """What `peluche similar --json` prints."""
        return self._asdict()


class WordVectors:
    """Words with vectors.

    Args:
        vocabulary: V words.
        vectors: (V, D).
        model: that they are of, None for vectors from a file.
    """

    def __init__(
        self, vocabulary: Vocabulary, vectors: Tensor, model: nn.Module | None = None
    ) -> None:
        self.vocabulary, self.model = vocabulary, model
        self.vectors = vectors.detach().float().cpu()
        self.directions = nn.functional.normalize(self.vectors, dim=1)

    @classmethod
    def from_file(cls, path: Path) -> WordVectors:
        """Read word2vec's text or binary format.

        Raises:
            DataError: the file is missing or damaged.
        """
        words, vectors = read_vectors(path)
        return cls(Vocabulary(words, [0] * len(words)), torch.from_numpy(vectors))

    def save(self, path: Path, *, binary: bool) -> None:
        """Write word2vec's text or binary format."""
        write_vectors(path, list(self.vocabulary), self.vectors.numpy(), binary=binary)

    def __getitem__(self, word: str) -> Float[Tensor, "dimensions"]:
        """The vector of a word.

        Raises:
            DataError: it is not in the vocabulary; names the one that is spelt most like it.
        """
        return self.vectors[self.vocabulary.number(word)]

    def similarity(self, one: str, other: str) -> float:
        """The cosine of the angle between two words' vectors."""
        numbers = [self.vocabulary.number(word) for word in (one, other)]
        return float(self.directions[numbers[0]] @ self.directions[numbers[1]])

    def similar(self, word: str, count: int = 10) -> list[Neighbour]:
        """The words most like one, best first.

        Raises:
            DataError: it is not in the vocabulary.
        """
        number = self.vocabulary.number(word)
        return self._nearest(self.directions[number], [number], count)

    def analogy(self, word: str, minus: str, plus: str, count: int = 10) -> list[Neighbour]:
        """What is to `plus` as `word` is to `minus`: king − man + woman (3CosAdd, Mikolov 2013).

        Raises:
            DataError: one of them is not in the vocabulary.
        """
        a, b, c = (self.vocabulary.number(each) for each in (word, minus, plus))
        direction = self.directions[a] - self.directions[b] + self.directions[c]
        return self._nearest(nn.functional.normalize(direction, dim=0), [a, b, c], count)

    def _nearest(self, direction: Tensor, without: Sequence[int], count: int) -> list[Neighbour]:
        cosines = self.directions @ direction
        cosines[list(without)] = -torch.inf
        best = cosines.topk(min(count, len(cosines) - len(set(without))))
        found = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [Neighbour(self.vocabulary[number], cosine) for number, cosine in found]

    def evaluate(self, path: str | Path, bootstrap: int = 1000) -> list[Score]:
        """Score a file of word pairs (Spearman's ρ) or of analogies (share that come first).

        Pairs and analogies with a word that is not in the vocabulary are left out; `coverage` is
        the share that is not. All intervals are 95 % bootstrap intervals.

        Raises:
            DataError: the file is neither, or holds none whose words are all known.
        """
        test = read_word_test(Path(path))
        if test.pairs:
            scores, known = self._of_pairs(test, bootstrap)
        else:
            scores, known = self._of_analogies(test, bootstrap)
        if not known:
            raise DataError(
                "none of the words of the test are in the vocabulary",
                where=path,
                remedy="give a test in the language and spelling of the training text",
            )
        covered = np.arange(len(test.pairs or test.analogies)) < known
        return [*scores, *_shares(f"coverage[{test.name}]", "item", covered, 0)]

    def _of_pairs(self, test: WordTest, bootstrap: int) -> tuple[list[Score], int]:
        known = [pair for pair in test.pairs if self._known(pair.one, pair.other)]
        if not known:
            return [], 0
        metric = Spearman(f"spearman[{test.name}]")
        said = [self.similarity(pair.one, pair.other) for pair in known]
        statistics = metric.statistics(said, [pair.similarity for pair in known])
        return [score_statistics(metric, statistics, bootstrap=bootstrap)], len(known)

    def _of_analogies(self, test: WordTest, bootstrap: int) -> tuple[list[Score], int]:
        known = [analogy for analogy in test.analogies if self._known(*analogy[:4])]
        right = np.array([said == answer for said, answer in self._answers(known)], dtype=bool)
        scores = _shares(f"analogies[{test.name}]", "question", right, bootstrap)
        sections = np.array([analogy.section for analogy in known])
        for section in filter(None, dict.fromkeys(sections.tolist())):
            chosen = right[sections == section]
            scores += _shares(f"analogies[{section}]", "question", chosen, bootstrap)
        return scores, len(known)

    def answers(self, path: str | Path) -> Iterator[tuple[Analogy, str]]:
        """Each analogy of a file whose words are known, and what is found for it."""
        known = [a for a in read_word_test(Path(path)).analogies if self._known(*a[:4])]
        for analogy, (said, _) in zip(known, self._answers(known), strict=True):
            yield analogy, self.vocabulary[said]

    def _known(self, *words: str) -> bool:
        return all(self.vocabulary.find(word) is not None for word in words)

    def _answers(self, analogies: Sequence[Analogy]) -> Iterator[tuple[int, int]]:
        """The number of the word that is found, and of the right one."""
        for start in range(0, len(analogies), BLOCK):
            some = analogies[start : start + BLOCK]
            numbers = torch.tensor([[self.vocabulary.number(w) for w in a[:4]] for a in some])
            one, other, third, answer = numbers.unbind(1)
            sought = self.directions[other] - self.directions[one] + self.directions[third]
            cosines = sought @ self.directions.t()
            cosines.scatter_(1, numbers[:, :3], -torch.inf)
            yield from zip(cosines.argmax(1).tolist(), answer.tolist(), strict=True)


def _shares(name: str, unit: str, right: NDArray[np.bool_], bootstrap: int) -> list[Score]:
    if not len(right):
        return []
    statistics = np.stack([right.astype(np.float64), np.ones(len(right))], axis=1)
    return [score_statistics(Share(name, unit), statistics, bootstrap=bootstrap)]
