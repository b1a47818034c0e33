"""What recipes of models of plain texts share: texts are tokenised once and packed into rows."""

from __future__ import annotations

import shutil
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import Field, model_validator

from peluche.config import Config
from peluche.data.packing import PackedStream, PackingConfig
from peluche.data.text_sources import CorpusSource, PlainTextSource, sample
from peluche.data.token_store import Packed, pack
from peluche.data.tokenization import PlainTokenization, Tokenization
from peluche.data.tokens import Tokens
from peluche.hub.run import RunDirectory
from peluche.hub.untrained import TOKENS
from peluche.models.generative import GenerativeModel
from peluche.objectives.base import Objective
from peluche.recipes.base import Assembly, Recipe, Say, phase
from peluche.recipes.own_text import described
from peluche.text.tokenizer import Tokenizer, TokenizerConfig
from peluche.training.loop import Evaluator

GROWS = ("bpe", "wordpiece", "unigram")  # kinds whose vocabulary is as large as was asked for
FEWEST_ROWS = 10  # under so many rows the loss of a validation set is mostly chance


class LanguageData(Config):
    """Plain texts; `test` is scored once, at the end.

    Attributes:
        tokens: a folder where texts are kept as tokens, for other runs too; without one they are
            kept in the run until it has ended.
        workers: processes that tokenise.
        vocabulary_from: characters of the training texts that the tokenizer is learnt from, about,
            taken from all of their parts; without it, all are.
    """

    train: CorpusSource
    validation: PlainTextSource
    test: PlainTextSource | None = None
    tokens: Path | None = None
    workers: int = Field(1, gt=0)
    vocabulary_from: int | None = Field(None, gt=0)


class LanguageEvaluation(Config):
    """What is shown while training.

    Attributes:
        sample: the beginning of a text that the model goes on with, or a text with a [MASK] that it
            fills; None for no sample.
        tokens: how far it goes on.
    """

    sample: str | None = None
    tokens: int = Field(60, gt=0)


class PackedRecipe(Recipe):
    """From plain texts, packed into rows, to a model of them."""

    data: LanguageData
    tokenizer: TokenizerConfig
    model: Config
    objective: Config
    batching: PackingConfig = PackingConfig()
    evaluation: LanguageEvaluation = LanguageEvaluation()

    @model_validator(mode="after")
    def _rows_fit(self) -> Self:
        values = self.architecture  # families without learnt positions have no max_length
        learnt = getattr(values, "positions", None) == "learned"
        if learnt and self.batching.length > values.max_length:
            raise ValueError(
                f"rows of {self.batching.length} tokens are longer than model.max_length "
                f"{values.max_length}; set batching.length to {values.max_length} or less"
            )
        return self

    def assemble(self, run: RunDirectory, device: torch.device, say: Say) -> Assembly:
        train, validation = described(self.data.train), described(self.data.validation)
        say(f"texts: {train}, validated on {validation}")
        with phase(run, "learn the vocabulary", say):
            if not (run.path / "tokenizer.json").exists():
                run.save_tokenizer(self._first_tokenizer())
            tokenizer = run.tokenizer()
        with phase(run, "encode the corpus", say):
            folder, encoding = self.data.tokens or run.path / TOKENS, self._encoding(tokenizer)
            learnt, held_out = (
                pack(source, folder, encoding, self.data.workers, say)
                for source in (self.data.train, self.data.validation)
            )
        for warning in self._too_small(len(tokenizer), len(learnt.tokens), len(held_out.tokens)):
            say(warning)
        torch.manual_seed(self.training.seed)
        model = self.built(len(tokenizer)).to(device)
        objective = self._objective()
        batches = list(self._stream(held_out.tokens, tokenizer).once())
        evaluator = self._evaluator(model, tokenizer, objective, batches, held_out)
        facts = {"vocabulary": len(tokenizer), "tokens": len(learnt.tokens)}
        stream = self._stream(learnt.tokens, tokenizer)
        return Assembly(model, objective, stream, evaluator, facts)

    def _too_small(self, vocabulary: int, tokens: int, held_out: int) -> Iterator[str]:
        """What to say where texts are too few for figures to mean much."""
        asked, row = self.tokenizer.vocab_size, self.batching.length
        learnt = self.architecture is self.model and self.tokenizer.kind in GROWS
        if learnt and vocabulary < asked:
            yield f"the texts hold {vocabulary:,} vocabulary entries; {asked:,} were asked for"
        if tokens < self.batching.tokens:
            yield (
                f"the texts are {tokens:,} tokens, less than one batch of "
                f"{self.batching.tokens:,}: they will be learnt by heart; give more text"
            )
        if held_out < FEWEST_ROWS * row:
            yield (
                f"the texts to validate on are {held_out:,} tokens, less than {FEWEST_ROWS} rows "
                f"of {row}: their figures say little; give more text"
            )

    @property
    def architecture(self) -> Any:
        """What the model is like; None before a model is opened that it starts from."""
        return self.model

    def _first_tokenizer(self) -> Tokenizer:
        """That of a new run."""
        return self.learnt_tokenizer().build(sample(self.data.train, self.data.vocabulary_from))

    def learnt_tokenizer(self) -> TokenizerConfig:
        """What is learnt from the training texts."""
        return self.tokenizer

    def built(self, vocabulary: int) -> GenerativeModel:
        """The model that is trained, freshly initialised, with what only training needs."""
        model: GenerativeModel = self.model.build(vocabulary)  # type: ignore[attr-defined]
        return model

    def _objective(self) -> Objective:
        experts = getattr(self.architecture, "experts", None)
        objective: Objective = self.objective.build(experts)  # type: ignore[attr-defined]
        return objective

    def _stream(self, tokens: Tokens, tokenizer: Tokenizer) -> Any:
        """Batches for ever, and the whole once."""
        return PackedStream(tokens, self.batching, self.training.seed, tokenizer.special)

    def _encoding(self, tokenizer: Tokenizer) -> Tokenization:
        """What makes ids of texts."""
        return PlainTokenization(tokenizer)

    @abstractmethod
    def _evaluator(
        self, model: Any, tokenizer: Tokenizer, objective: Objective, batches: list[Any], of: Packed
    ) -> Evaluator:
        """What measures a model on the batches of the validation set."""

    def finish(self, run: RunDirectory, parts: Assembly) -> None:
        """Tokens that are the run's own are only of use for training."""
        shutil.rmtree(run.path / TOKENS, ignore_errors=True)
