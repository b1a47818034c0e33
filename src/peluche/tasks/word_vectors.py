"""Word vectors: what is alike, what is to this as that is to those, and tests of both."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from peluche.data.word_tests import Analogy, Pair, WordTest, WordTests, word_tests_from
from peluche.errors import DataError
from peluche.hub.word2vec_format import read_vectors, write_vectors
from peluche.metrics import Measurement
from peluche.metrics.correlation import Spearman
from peluche.metrics.counts import Share
from peluche.tasks.evaluation import Evaluable, Evaluation
from peluche.text.vocabulary import Vocabulary

BLOCK = 512


class Neighbour(NamedTuple):
    """A word and the cosine of the angle between its vector and the one asked about."""

    word: str
    similarity: float

    def as_json(self) -> dict[str, Any]:
        """What `peluche similar --json` prints."""
        return self._asdict()


class WordVectors(Evaluable):
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

    def source(self, names: Sequence[str], **options: Any) -> WordTests:
        """See `Evaluable.source` and `word_tests_from`."""
        return word_tests_from(names, self.settings.options.get("files") or (), **options)

    def measure(self, examples: Sequence[WordTest]) -> Evaluation:
        """Spearman's ρ of word pairs, the share of analogies that come first.

        Pairs and analogies with a word that is not in the vocabulary are left out; `coverage` is
        the share that is not.

        Raises:
            DataError: no words of a test are known.
        """
        started = time.perf_counter()
        measured: list[Measurement] = []
        shown: list[dict[str, str]] = []
        for test in examples:
            pairs = [pair for pair in test.pairs if self._known(pair.one, pair.other)]
            analogies = [analogy for analogy in test.analogies if self._known(*analogy[:4])]
            if not pairs and not analogies:
                raise DataError(
                    "none of the words of the test are in the vocabulary",
                    where=test.where,
                    remedy="give a test in the language and spelling of the training text",
                )
            if pairs:
                measured.append(self._of_pairs(test.name, pairs))
            else:
                measured += self._of_analogies(test.name, analogies, shown)
            covered = np.arange(len(test.pairs or test.analogies)) < len(pairs or analogies)
            measured.append(_share(f"coverage[{test.name}]", "item", covered))
        return Evaluation(measured, shown, time.perf_counter() - started)

    def _of_pairs(self, name: str, pairs: Sequence[Pair]) -> Measurement:
        metric = Spearman(f"spearman[{name}]")
        said = [self.similarity(pair.one, pair.other) for pair in pairs]
        return Measurement(metric, metric.statistics(said, [pair.similarity for pair in pairs]))

    def _of_analogies(
        self, name: str, analogies: Sequence[Analogy], shown: list[dict[str, str]]
    ) -> list[Measurement]:
        answers = list(self._answers(analogies))
        right = np.array([said == answer for said, answer in answers], dtype=bool)
        shown += [
            {
                "source": f"{analogy.other} − {analogy.one} + {analogy.third}",
                "reference": self.vocabulary[answer],
                "output": self.vocabulary[said],
            }
            for analogy, (said, answer) in zip(analogies, answers, strict=True)
        ]
        measured = [_share(f"analogies[{name}]", "question", right)]
        sections = np.array([analogy.section for analogy in analogies])
        for section in filter(None, dict.fromkeys(sections.tolist())):
            chosen = right[sections == section]
            measured.append(_share(f"analogies[{section}]", "question", chosen))
        return measured

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


def _share(name: str, unit: str, right: NDArray[np.bool_]) -> Measurement:
    statistics = np.stack([right.astype(np.float64), np.ones(len(right))], axis=1)
    return Measurement(Share(name, unit), statistics)
