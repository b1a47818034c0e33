"""The recipe of extractive question answering."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

import torch

from peluche.config import Config
from peluche.data.answering import AnsweringConfig, QuestionStream
from peluche.data.batching import BatchingConfig
from peluche.data.questions import Question, SquadQuestions
from peluche.errors import DataError
from peluche.hub.run import RunDirectory
from peluche.metrics import Score
from peluche.models.answerer import AnswererConfig
from peluche.objectives.answering import AnswerSpanConfig
from peluche.objectives.base import Objective
from peluche.recipes.base import Assembly, Recipe, Say, log_test, phase
from peluche.recipes.pretrained import encoder_described, start_encoder, tokenizer_of, words_of
from peluche.tasks.answer import QuestionAnswerer
from peluche.tasks.evaluation import read_examples
from peluche.text.tokenizer import TokenizerConfig
from peluche.training.evaluators import mean_losses
from peluche.training.events import EvaluateEvent


class AnsweringData(Config):
    """Questions about texts; `test` is scored once, at the end."""

    train: SquadQuestions
    validation: SquadQuestions
    test: SquadQuestions | None = None


class AnsweringRecipe(Recipe):
    """From questions and answers to a model that finds answers (Devlin et al. 2019, §4.2-4.3)."""

    task: Literal["question_answering"] = "question_answering"
    data: AnsweringData
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: AnswererConfig = AnswererConfig()
    objective: AnswerSpanConfig = AnswerSpanConfig()
    batching: BatchingConfig = BatchingConfig(max_length=384)
    answering: AnsweringConfig = AnsweringConfig()

    def completed(self) -> Self:
        """See `Recipe.completed`."""
        return encoder_described(self)

    def measured(self) -> set[str]:
        return {"loss", "accuracy", "exact_match", "f1"}

    def assemble(self, run: RunDirectory, device: torch.device, say: Say) -> Assembly:
        with phase(run, "read the questions", say):
            train: list[Question] = read_examples(self.data.train, say)
            validation = read_examples(self.data.validation, say)
        unanswered = next((one for one in train if not one.answers), None)
        if unanswered is not None and not self.answering.unanswerable:
            raise DataError(
                "the question has no answer",
                where=unanswered.where,
                remedy="set answering.unanswerable=true, for data such as SQuAD 2.0",
            )
        with phase(run, "learn the vocabulary", say):
            if not (run.path / "tokenizer.json").exists():
                texts = dict.fromkeys(text for one in train for text in one.texts)
                run.save_tokenizer(tokenizer_of(self.model.encoder, self.tokenizer, texts))
            tokenizer = run.tokenizer()
        torch.manual_seed(self.training.seed)
        model = self.model.build(len(tokenizer))
        start_encoder(run, model.encoder, self.model.encoder, words_of(tokenizer), say)
        model = model.to(device)
        stream = QuestionStream(
            lambda: train, tokenizer, self.answering, self.batching, self.training.seed, say
        )
        with phase(run, "encode the questions", say):
            stream.warm()
        objective = self.objective.build()
        limit = min(self.batching.max_length, self.batching.tokens)
        evaluator = AnsweringEvaluator(
            objective,
            QuestionStream(lambda: validation, tokenizer, self.answering, self.batching),
            validation,
            QuestionAnswerer(model, tokenizer, self.answering, max_length=limit),
        )
        facts = {"vocabulary": len(tokenizer), "questions": len(train)}
        return Assembly(model, objective, stream, evaluator, facts)

    def evaluate(
        self, run: RunDirectory, task: QuestionAnswerer, say: Say
    ) -> tuple[list[Score], list[dict[str, Any]]]:
        """Answer the test set's questions and score the answers."""
        return log_test(run, self.data.test or self.data.validation, task, say)


class AnsweringEvaluator:
    """The loss, and exact match and F1 of the answers, on the validation set."""

    def __init__(
        self,
        objective: Objective,
        stream: QuestionStream,
        questions: Sequence[Question],
        answerer: QuestionAnswerer,
    ) -> None:
        self.objective, self.questions, self.answerer = objective, questions, answerer
        self.batches = list(stream.once())

    @torch.no_grad()
    def __call__(self, step: int) -> EvaluateEvent:
        metrics = mean_losses(self.answerer.model, self.objective, self.batches)
        scores = self.answerer.measure(self.questions).scores(bootstrap=0)
        metrics |= {item.metric: item.score for item in scores}
        return EvaluateEvent(step, metrics, ())
