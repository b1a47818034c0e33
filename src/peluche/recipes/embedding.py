"""The recipe of sentence embeddings: vectors that tell which texts belong together."""

from __future__ import annotations

from typing import Literal

import torch

from peluche.config import Config
from peluche.data.batching import BatchingConfig
from peluche.data.contrastive import ContrastiveStream
from peluche.data.sources import Source
from peluche.hub.run import RunDirectory
from peluche.models.text_embedder import TextEmbedderConfig
from peluche.objectives.contrastive import ContrastiveConfig
from peluche.processes import joined
from peluche.recipes.base import Assembly, Say, phase
from peluche.recipes.pretrained import EncoderRecipe, own_tokenizer, start_encoder, words_of
from peluche.tasks.embed import Embedder, EmbeddingConfig
from peluche.tasks.evaluation import read_examples
from peluche.text.tokenizer import TokenizerConfig
from peluche.training.evaluators import TaskEvaluator


class EmbeddingData(Config):
    """Pairs of texts that belong together; `test` is scored once, at the end."""

    train: Source
    validation: Source
    test: Source | None = None


class EmbeddingRecipe(EncoderRecipe):
    """From pairs of texts to a model that embeds texts (Reimers & Gurevych 2019)."""

    task: Literal["embedding"] = "embedding"
    data: EmbeddingData
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: TextEmbedderConfig = TextEmbedderConfig()
    objective: ContrastiveConfig = ContrastiveConfig()
    batching: BatchingConfig = BatchingConfig()

    def measured(self) -> set[str]:
        return {"loss", "accuracy", *self.scored()}

    def scored(self) -> set[str]:
        return {"recall_at_1", "recall_at_5", "recall_at_10", "mrr"}

    def assemble(self, run: RunDirectory, device: torch.device, say: Say) -> Assembly:
        with phase(run, "read the texts", say):
            train = read_examples(self.data.train, say)
            validation = read_examples(self.data.validation, say)
        with phase(run, "learn the vocabulary", say):
            texts = (text for pair in train for text in pair.texts)
            tokenizer = own_tokenizer(run, self.model.encoder, self.tokenizer, texts)
        torch.manual_seed(self.training.seed)
        model = self.model.build(len(tokenizer))
        start_encoder(run, model.encoder, self.model.encoder, words_of(tokenizer), say)
        model = model.to(device)
        begins = model.encoder.begins
        stream = ContrastiveStream(
            lambda: train, tokenizer, self.batching, self.training.seed, say, begins=begins
        )
        with phase(run, "encode the texts", say):
            stream.warm()
        evaluator = TaskEvaluator(
            model,
            self.objective.build(),
            ContrastiveStream(lambda: validation, tokenizer, self.batching, begins=begins).once(),
            Embedder(model, tokenizer, EmbeddingConfig(max_length=self.batching.longest)),
            validation,
        )
        facts = {"vocabulary": len(tokenizer), "pairs": len(train)}
        objective = self.objective.build(joined().in_teams(self.training.parallel.tensor))
        return Assembly(model, objective, stream, evaluator, facts)
