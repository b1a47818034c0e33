"""Question answering: a question and a text in, the piece of the text that answers out."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from peluche.data.answering import (
    NO_ANSWER,
    AnsweringConfig,
    PassageWindow,
    cut_passages,
)
from peluche.data.questions import Question, QuestionSource, questions_from
from peluche.errors import DataError
from peluche.memory import InPieces
from peluche.metrics.answers import measure_answers
from peluche.models.answerer import Answerer, SpanScores
from peluche.tasks.evaluation import Evaluable, Evaluation
from peluche.tasks.listed import check_listed
from peluche.tasks.modes import evaluating
from peluche.text.tokenizer import Tokenizer

SHORTER_WINDOWS = (
    "load the model with a smaller max_length; if other programs use memory, stop them"
)


class Answered(NamedTuple):
    """What a text says to a question.

    Attributes:
        answer: a piece of the text; empty if it holds no answer.
        start, end: its place in the text, in characters; 0 and 0 for no answer.
        score: how far the best piece is above no answer; a difference of logits. −∞ where the text
            has no piece.
    """

    answer: str
    start: int
    end: int
    score: float

    def as_json(self) -> dict[str, Any]:
        """What `peluche answer --json` prints; JSON has no infinite scores."""
        return {**self._asdict(), "score": self.score if math.isfinite(self.score) else None}


class QuestionAnswerer(Evaluable):
    """Answers with a model and its tokenizer.

    Args:
        max_length: tokens that are read at once.
        batch_tokens: padded tokens in a batch.
    """

    def __init__(
        self,
        model: Answerer,
        tokenizer: Tokenizer,
        config: AnsweringConfig = AnsweringConfig(),
        *,
        max_length: int = 384,
        batch_tokens: int = 8192,
    ) -> None:
        self.model, self.tokenizer, self.config = model, tokenizer, config
        self.max_length, self.batch_tokens = max_length, batch_tokens
        self._in_pieces = InPieces("a piece of a text", SHORTER_WINDOWS)

    @torch.no_grad()
    def answer(self, questions: Sequence[str], contexts: Sequence[str]) -> list[Answered]:
        """The best answer to each question out of its text.

        Of several windows of a text the one with the highest score counts; that there is no answer
        has to be likely in all of them (its lowest score counts).
        """
        check_listed(questions)
        check_listed(contexts)
        passages = cut_passages(questions, contexts, self.tokenizer, self.max_length, self.config)
        window = PassageWindow(passages, [(NO_ANSWER, NO_ANSWER)] * len(passages))
        device = self.model.head.weight.device
        best = [Answered("", 0, 0, -torch.inf)] * len(questions)
        nothing = [torch.inf] * len(questions)

        def spans(rows: NDArray[np.int64]) -> list[tuple[float, tuple[int, int, float]]]:
            scores = self.model.scores(window.batch(rows).to(device))
            none = (scores.starts + scores.ends)[:, NO_ANSWER].tolist()
            return list(zip(none, best_spans(scores, self.config.max_answer), strict=True))

        with evaluating(self.model):
            read = chain.from_iterable(
                self._in_pieces.of(planned, spans)
                for planned in window.plan(self.batch_tokens, None)
            )
            for rows, found in read:
                for row, (without, (first, last, score)) in zip(rows, found, strict=True):
                    passage = passages[row]
                    nothing[passage.row] = min(nothing[passage.row], without)
                    if score > best[passage.row].score:
                        start = passage.pieces[first - passage.first].start
                        end = passage.pieces[last - passage.first].end
                        text = contexts[passage.row][start:end]
                        start += len(text) - len(text.lstrip())
                        text = text.strip()
                        best[passage.row] = Answered(text, start, start + len(text), score)
        return [self._decided(one, none) for one, none in zip(best, nothing, strict=True)]

    def _decided(self, best: Answered, nothing: float) -> Answered:
        margin = best.score - nothing
        if self.config.unanswerable and margin < -self.config.threshold:
            return Answered("", 0, 0, margin)
        return best._replace(score=margin)

    def source(self, names: Sequence[str], **options: Any) -> QuestionSource:
        """See `Evaluable.source` and `questions_from`."""
        return questions_from(names, self.like(names) if not names else {}, **options)

    def measure(self, examples: Sequence[Question]) -> Evaluation:
        """Exact match and F1."""
        started = time.perf_counter()
        found = self.answer([one.question for one in examples], [one.context for one in examples])
        seconds = time.perf_counter() - started
        answers = [one.answer for one in found]
        true = [[answer.text for answer in one.answers] for one in examples]
        shown = [
            {"source": one.question, "reference": " | ".join(texts), "output": answer}
            for one, texts, answer in zip(examples, true, answers, strict=True)
        ]
        return Evaluation(measure_answers(answers, true), shown, seconds)

    def stream(self, lines: Iterable[str], block: int = 256) -> Iterator[Answered]:
        """`answer` over any number of lines, each a JSON object with `question` and `context`.

        Raises:
            DataError: a line is something else.
        """
        check_listed(lines)
        waiting = enumerate(lines, 1)
        while some := list(islice(waiting, block)):
            asked = [_asked(line, number) for number, line in some]
            yield from self.answer([one for one, _ in asked], [text for _, text in asked])


def best_spans(scores: SpanScores, longest: int) -> list[tuple[int, int, float]]:
    """First and last token, and score, of the best piece of each text.

    The sum of both ends' scores is the highest of all pieces of at most `longest` tokens that do
    not begin at the token that stands for no answer; −∞ if there is none.
    """
    starts, ends = (one.clone().float() for one in scores)
    starts[:, NO_ANSWER] = -torch.inf
    sums: Tensor = starts[:, :, None] + ends[:, None, :]
    length = sums.shape[-1]
    band = torch.ones(length, length, dtype=torch.bool, device=sums.device)
    sums = sums.masked_fill(~band.triu().tril(longest - 1), -torch.inf)
    values, places = sums.flatten(1).max(1)
    return [
        (place // length, place % length, value)
        for place, value in zip(places.tolist(), values.tolist(), strict=True)
    ]


def _asked(line: str, number: int) -> tuple[str, str]:
    try:
        values = json.loads(line)
        question, context = values["question"], values["context"]
    except (ValueError, KeyError, TypeError):
        question = context = None
    if not isinstance(question, str) or not isinstance(context, str):
        raise DataError(
            "the line does not ask a question about a text",
            where=f"line {number}",
            remedy='write {"question": "…", "context": "…"}',
        )
    return question, context
