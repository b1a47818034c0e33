"""The recipe of extractive question answering."""

from __future__ import annotations

from typing import Literal

import torch

from peluche.config import Config
from peluche.data.answering import AnsweringConfig, QuestionStream
from peluche.data.batching import BatchingConfig
from peluche.data.questions import Question, QuestionSource
from peluche.errors import DataError
from peluche.hub.run import RunDirectory
from peluche.models.answerer import AnswererConfig
from peluche.objectives.answering import AnswerSpanConfig
from peluche.recipes.base import Assembly, Say, phase
from peluche.recipes.pretrained import EncoderRecipe, own_tokenizer, start_encoder, words_of
from peluche.tasks.answer import QuestionAnswerer
from peluche.tasks.evaluation import read_examples
from peluche.text.tokenizer import TokenizerConfig
from peluche.training.evaluators import TaskEvaluator


class AnsweringData(Config):
    """Questions about texts; `test` is scored once, at the end."""

    train: QuestionSource
    validation: QuestionSource
    test: QuestionSource | None = None


class AnsweringRecipe(EncoderRecipe):
    """From questions and answers to a model that finds answers (Devlin et al. 2019, §4.2-4.3)."""

    task: Literal["question_answering"] = "question_answering"
    data: AnsweringData
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: AnswererConfig = AnswererConfig()
    objective: AnswerSpanConfig = AnswerSpanConfig()
    batching: BatchingConfig = BatchingConfig(max_length=384)
    answering: AnsweringConfig = AnsweringConfig()

    def measured(self) -> set[str]:
        return {"loss", "accuracy", "exact_match", "f1"}

    def scored(self) -> set[str]:
        return {"exact_match", "f1"}

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
            texts = dict.fromkeys(text for one in train for text in one.texts)
            tokenizer = own_tokenizer(run, self.model.encoder, self.tokenizer, texts)
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
        evaluator = TaskEvaluator(
            model,
            objective,
            QuestionStream(lambda: validation, tokenizer, self.answering, self.batching).once(),
            QuestionAnswerer(model, tokenizer, self.answering, max_length=self.batching.longest),
            validation,
        )
        facts = {"vocabulary": len(tokenizer), "questions": len(train)}
        return Assembly(model, objective, stream, evaluator, facts)
