"""What tagging and parsing have in common: sentences in, batches through a model."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from peluche.data.annotation import Coding, SentenceBatch, SentenceWindow
from peluche.data.sentences import Sentence
from peluche.data.treebanks import SentenceSource, sentences_from
from peluche.errors import DataError
from peluche.memory import SHORTER, InPieces
from peluche.metrics import Measurement
from peluche.tasks.evaluation import Evaluable, Evaluation
from peluche.tasks.listed import check_listed
from peluche.tasks.modes import evaluating
from peluche.text.words import split_words

A = TypeVar("A")
M = TypeVar("M", bound=nn.Module)


class SentenceTask(Evaluable, Generic[M, A]):
    """Says something of each token of sentences with a model.

    Args:
        coding: turns sentences into numbers, and numbers into names.
        batch_tokens: padded tokens read at a time.

    Attributes:
        longest: the most tokens of a sentence, where work grows faster than its length.
    """

    longest: int | None = None

    def __init__(self, model: M, coding: Coding, *, batch_tokens: int = 4096) -> None:
        self.model, self.coding, self.batch_tokens = model, coding, batch_tokens
        self._in_pieces = InPieces("a sentence", SHORTER)

    def annotate(self, sentences: Sequence[Sequence[str]]) -> list[A]:
        """What the model says of each sentence; its tokens are given.

        Raises:
            DataError: a sentence has no tokens, or too many.
        """
        check_listed(sentences)
        for number, tokens in enumerate(sentences, 1):
            check_listed(tokens)
            if not tokens:
                raise DataError("the sentence is empty", where=f"sentence {number}")
            if self.longest is not None and len(tokens) > self.longest:
                raise DataError(
                    f"the sentence has {len(tokens):,} tokens; no more than {self.longest} are "
                    "parsed together",
                    where=f"sentence {number}",
                    remedy="part the text into sentences, one a line",
                )
        window = SentenceWindow(self.coding.lexicon, sentences, subwords=self.coding.subwords)
        device = next(self.model.parameters()).device
        found: dict[int, A] = {}

        def annotate(rows: NDArray[np.int64]) -> list[A]:
            return self._batch(window.batch(rows).to(device), [sentences[row] for row in rows])

        with evaluating(self.model), torch.no_grad():
            for planned in window.plan(self.batch_tokens, None):
                for rows, said in self._in_pieces.of(planned, annotate):
                    found.update(zip(rows.tolist(), said, strict=True))
        return [found[row] for row in range(len(sentences))]

    def _batch(self, batch: SentenceBatch, sentences: list[Sequence[str]]) -> list[A]:
        """What the model says of a batch."""
        raise NotImplementedError

    def source(self, names: Sequence[str], **options: Any) -> SentenceSource:
        """See `Evaluable.source` and `sentences_from`."""
        return sentences_from(names, self.like(names), **options)

    def measure(self, examples: Sequence[Sentence]) -> Evaluation:
        """Scores of what the model says of sentences against their own annotation.

        Raises:
            DataError: a sentence lacks what the model says.
        """
        gold = [self.gold(sentence) for sentence in examples]
        started = time.perf_counter()
        said = self.annotate([sentence.tokens for sentence in examples])
        seconds = time.perf_counter() - started
        shown = [
            {"source": " ".join(sentence.tokens), "reference": str(true), "output": str(one)}
            for sentence, true, one in zip(examples, gold, said, strict=True)
        ]
        return Evaluation(self.compare(said, gold), shown, seconds)

    def gold(self, sentence: Sentence) -> A:
        """What is said of a sentence by its own annotation."""
        raise NotImplementedError

    def compare(self, said: Sequence[A], gold: Sequence[A]) -> list[Measurement]:
        """How good what is said is, by every metric of the task."""
        raise NotImplementedError

    def stream(self, lines: Iterable[str], *, split: bool = True, block: int = 256) -> Iterator[A]:
        """`annotate` over any number of lines, one sentence each; blank lines are left out.

        Args:
            split: part punctuation and clitics from words; otherwise tokens stand apart already.
        """
        check_listed(lines)
        sentences = (
            tokens for line in lines if (tokens := split_words(line) if split else line.split())
        )
        size = min(16, block)
        while some := list(islice(sentences, size)):
            yield from self.annotate(some)
            size = min(2 * size, block)


def annotation_of(sentence: Sentence, kind: Literal["tags", "heads"]) -> Sequence[Any]:
    """What a sentence says of its tokens.

    Raises:
        DataError: it does not.
    """
    found: Sequence[Any] = getattr(sentence, kind)
    if len(found) != len(sentence.tokens):
        raise DataError(
            f"the sentence has no {kind}", where=sentence.where, remedy=f"read a file with {kind}"
        )
    return found


def lengths_of(batch: SentenceBatch) -> list[int]:
    """Tokens of each sentence of a batch."""
    lengths: list[int] = batch.valid.sum(1).tolist()
    return lengths


def names_of(
    numbers: torch.Tensor, names: Sequence[str], lengths: Sequence[int]
) -> list[list[str]]:
    """(B, T) numbers as names, without padding."""
    return [
        [names[number] for number in row[:length]]
        for row, length in zip(numbers.tolist(), lengths, strict=True)
    ]
