"""Questions about texts → windows that an encoder can read → batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from peluche.config import Config
from peluche.data.batch import Batch
from peluche.data.batching import BatchingConfig, BatchStream, Ragged, Window
from peluche.data.questions import Answer, Question
from peluche.errors import ConfigError
from peluche.text.pieces import Piece
from peluche.text.tokenizer import Tokenizer

# The first token stands for "there is no answer here" (Devlin et al. 2019, §4.3).
NO_ANSWER = 0


class AnsweringConfig(Config):
    """How texts are cut into windows, and answers are read off them.

    Attributes:
        stride: tokens from the beginning of one window of a text to that of the next.
        max_question: tokens of a question that are read.
        max_answer: the most tokens of an answer.
        unanswerable: whether a text may hold no answer (SQuAD 2.0).
        threshold: by how much the score of no answer has to be above that of the best one.
    """

    stride: int = Field(128, gt=0)
    max_question: int = Field(64, gt=0)
    max_answer: int = Field(30, gt=0)
    unanswerable: bool = False
    threshold: float = 0.0


class Passage(NamedTuple):
    """What is read at once: a question and a part of its text.

    Attributes:
        row: which question it is of.
        ids: [BOS], the question, [EOS], the part, [EOS].
        first: where the part begins.
        pieces: of the part, with their places in the whole text.
    """

    row: int
    ids: list[int]
    first: int
    pieces: Sequence[Piece]


@dataclass(frozen=True)
class AnswerBatch(Batch):
    """Passages as token ids, padded on the right, and where their answers are.

    Attributes:
        tokens: (B, T).
        valid: (B, T), True for tokens, False for padding.
        segments: (B, T), 0 in the question and 1 in the text.
        allowed: (B, T), True where an answer may begin or end: in the text, and at the first token.
        starts, ends: (B,) the first and the last token of the answer; 0 where there is none.
    """

    tokens: Int[Tensor, "batch length"]
    valid: Bool[Tensor, "batch length"]
    segments: Int[Tensor, "batch length"]
    allowed: Bool[Tensor, "batch length"]
    starts: Int[Tensor, "batch"]
    ends: Int[Tensor, "batch"]

    @property
    def target_tokens(self) -> int:
        """Tokens read."""
        return int(self.valid.sum())


def cut_passages(
    questions: Sequence[str],
    contexts: Sequence[str],
    tokenizer: Tokenizer,
    limit: int,
    config: AnsweringConfig,
) -> list[Passage]:
    """Every question with each part of its text; parts overlap (Devlin et al. 2019, §4.2).

    Args:
        limit: the most tokens of a passage.

    Raises:
        ConfigError: a question leaves no room for its text.
    """
    passages = []
    pieces_of = {context: tokenizer.pieces(context) for context in dict.fromkeys(contexts)}
    encoded = tokenizer.encode_batch(questions)
    for row, (ids, context) in enumerate(zip(encoded, contexts, strict=True)):
        question = tokenizer.around(ids[: config.max_question])
        after = [tokenizer.eos_id] * (tokenizer.eos_id >= 0)
        room = limit - len(question) - len(after)
        if room < 1:
            raise ConfigError(
                f"a question of {len(question)} tokens leaves no room for its text in {limit}",
                remedy="raise batching.max_length, or lower answering.max_question",
            )
        pieces, begin = pieces_of[context], 0
        while True:
            part = pieces[begin : begin + room]
            tokens = [*question, *(piece.id for piece in part), *after]
            passages.append(Passage(row, tokens, len(question), part))
            if begin + room >= len(pieces):
                break
            begin += min(config.stride, room)
    return passages


class PassageWindow(Window):
    """Passages, and of each the first and last token of its answer."""

    def __init__(self, passages: Sequence[Passage], spans: Sequence[tuple[int, int]]) -> None:
        self.passages = passages
        self.ids = Ragged([passage.ids for passage in passages])
        self.spans = np.array(spans, dtype=np.int64).reshape(-1, 2)

    @property
    def lengths(self) -> NDArray[np.int64]:
        return self.ids.lengths

    def batch(self, rows: NDArray[np.int64]) -> AnswerBatch:
        tokens, valid = self.ids.padded(rows)
        places = np.arange(tokens.shape[1])
        first = np.array([self.passages[row].first for row in rows])[:, None]
        last = first + np.array([len(self.passages[row].pieces) for row in rows])[:, None]
        text = (places >= first) & (places < last)
        arrays = (
            tokens,
            valid,
            ((places >= first) & valid).astype(np.int64),
            text | (places == NO_ANSWER),
            *self.spans[rows].T.copy(),
        )
        return AnswerBatch(*(torch.from_numpy(array) for array in arrays))


class QuestionStream(BatchStream):
    """Batches of passages of questions; the first of several answers is learnt."""

    def __init__(
        self,
        read: Callable[[], Iterable[Question]],
        tokenizer: Tokenizer,
        answering: AnsweringConfig,
        config: BatchingConfig,
        seed: int = 0,
        say: Callable[[str], None] = lambda message: None,
    ) -> None:
        super().__init__(read, config, seed, say)
        self.tokenizer, self.answering = tokenizer, answering

    def encode(self, examples: list[Question]) -> PassageWindow:
        passages = cut_passages(
            [example.question for example in examples],
            [example.context for example in examples],
            self.tokenizer,
            self.config.longest,
            self.answering,
        )
        answers = [example.answers[0] if example.answers else None for example in examples]
        return PassageWindow(passages, [span_of(one, answers[one.row]) for one in passages])


def span_of(passage: Passage, answer: Answer | None) -> tuple[int, int]:
    """First and last token of an answer in a passage; the first token if it is not all there."""
    if answer is None or not passage.pieces:
        return NO_ANSWER, NO_ANSWER
    start, end = answer.start, answer.start + len(answer.text)
    pieces = passage.pieces
    touched = [n for n, piece in enumerate(pieces) if piece.end > start and piece.start < end]
    whole = pieces[0].start <= start and pieces[-1].end >= end
    if not touched or not whole:
        return NO_ANSWER, NO_ANSWER
    return passage.first + touched[0], passage.first + touched[-1]
