"""The recipe of sentence embeddings: vectors that tell which texts belong together."""

from __future__ import annotations

from typing import Literal, Self

import torch

from peluche.config import Config
from peluche.data.batching import BatchingConfig
from peluche.data.contrastive import ContrastiveStream
from peluche.data.sources import Source
from peluche.hub.run import RunDirectory
from peluche.models.text_embedder import TextEmbedderConfig
from peluche.objectives.contrastive import ContrastiveConfig
from peluche.processes import joined
from peluche.recipes.base import Assembly, Recipe, Say, phase
from peluche.recipes.pretrained import encoder_described, start_encoder, tokenizer_of, words_of
from peluche.tasks.embed import Embedder, EmbeddingConfig
from peluche.tasks.evaluation import read_examples
from peluche.text.tokenizer import TokenizerConfig
from peluche.training.evaluators import TaskEvaluator


class EmbeddingData(Config):
    """Pairs of texts that belong together; `test` is scored once, at the end."""

    train: Source
    validation: Source
    test: Source | None = None


class EmbeddingRecipe(Recipe):
    """From pairs of texts to a model that embeds texts (Reimers & Gurevych 2019)."""

    task: Literal["embedding"] = "embedding"
    data: EmbeddingData
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: TextEmbedderConfig = TextEmbedderConfig()
    objective: ContrastiveConfig = ContrastiveConfig()
    batching: BatchingConfig = BatchingConfig()

    def completed(self) -> Self:
        """See `Recipe.completed`."""
        return encoder_described(self)

    def measured(self) -> set[str]:
        return {"loss", "accuracy", *self.scored()}

    def scored(self) -> set[str]:
        return {"recall_at_1", "recall_at_5", "recall_at_10", "mrr"}

    def assemble(self, run: RunDirectory, device: torch.device, say: Say) -> Assembly:
        with phase(run, "read the texts", say):
            train = read_examples(self.data.train, say)
            validation = read_examples(self.data.validation, say)
        with phase(run, "learn the vocabulary", say):
            if not (run.path / "tokenizer.json").exists():
                texts = (text for pair in train for text in (pair.source, pair.target))
                run.save_tokenizer(tokenizer_of(self.model.encoder, self.tokenizer, texts))
            tokenizer = run.tokenizer()
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
        limit = min(self.batching.max_length, self.batching.tokens)
        evaluator = TaskEvaluator(
            model,
            self.objective.build(),
            ContrastiveStream(lambda: validation, tokenizer, self.batching, begins=begins).once(),
            Embedder(model, tokenizer, EmbeddingConfig(max_length=limit)),
            validation,
        )
        facts = {"vocabulary": len(tokenizer), "pairs": len(train)}
        objective = self.objective.build(joined().in_teams(self.training.parallel.tensor))
        return Assembly(model, objective, stream, evaluator, facts)
