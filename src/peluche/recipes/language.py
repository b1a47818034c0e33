"""Recipes of models of texts: what comes next, what is hidden."""

from __future__ import annotations

import shutil
from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field, model_validator

from peluche.config import Config
from peluche.data.infilling import INFILLING, Infilling
from peluche.data.masking import MaskedBatch, MaskedStream, MaskingConfig
from peluche.data.next_sentence import AROUND, SentencePairStream
from peluche.data.packing import (
    LanguageBatch,
    PackedRows,
    PackedStream,
    PackingConfig,
    PrefixStream,
)
from peluche.data.text_sources import CorpusSource, PlainTextSource, sample
from peluche.data.token_store import Packed, pack
from peluche.data.tokenization import PlainTokenization, Tokenization
from peluche.data.tokens import Tokens
from peluche.generation.sampling import SamplingParameters
from peluche.hub.run import RunDirectory
from peluche.metrics import perplexity
from peluche.metrics.perplexity import BitsPerByte
from peluche.models.costs import token_flops
from peluche.models.decoder import Decoder, DecoderConfig
from peluche.models.encoder import EncoderConfig
from peluche.models.generative import GenerativeModel
from peluche.models.language_model import LanguageModel
from peluche.models.language_registry import LanguageModelConfig
from peluche.models.multi_token import MultiTokenHeads
from peluche.objectives.base import Objective
from peluche.objectives.causal import CausalConfig, InfillingObjectiveConfig, PrefixConfig
from peluche.objectives.masked import MaskedConfig
from peluche.recipes.base import Assembly, Recipe, Say, phase
from peluche.recipes.scaling_law import DialConfig, Plan
from peluche.tasks.complete import Completer
from peluche.tasks.fill import Filler
from peluche.text.tokenizer import MASK, Tokenizer, TokenizerConfig
from peluche.training.efficiency import Efficiency, Forecast
from peluche.training.evaluators import mean_losses
from peluche.training.events import EvaluateEvent, Hook
from peluche.training.loop import Evaluator

TOKENS = "tokens"


def _with_kind(values: Any) -> Any:
    return {"kind": "causal", **values} if isinstance(values, dict) else values


LanguageObjective = Annotated[
    CausalConfig | PrefixConfig | InfillingObjectiveConfig,
    Field(discriminator="kind"),
    BeforeValidator(_with_kind),
]


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

    def assemble(self, run: RunDirectory, device: torch.device, say: Say) -> Assembly:
        with phase(run, "learn the vocabulary", say):
            if not (run.path / "tokenizer.json").exists():
                texts = sample(self.data.train, self.data.vocabulary_from)
                run.save_tokenizer(self.learnt_tokenizer().build(texts))
            tokenizer = run.tokenizer()
        with phase(run, "encode the corpus", say):
            folder, encoding = self.data.tokens or run.path / TOKENS, self._encoding(tokenizer)
            train, validation = (
                pack(source, folder, encoding, self.data.workers, say)
                for source in (self.data.train, self.data.validation)
            )
        torch.manual_seed(self.training.seed)
        model = self.built(len(tokenizer)).to(device)
        objective = self._objective()
        batches = list(self._stream(validation.tokens, tokenizer).once())
        evaluator = self._evaluator(model, tokenizer, objective, batches, validation)
        facts = {"vocabulary": len(tokenizer), "tokens": len(train.tokens)}
        stream = self._stream(train.tokens, tokenizer)
        return Assembly(model, objective, stream, evaluator, facts)

    def learnt_tokenizer(self) -> TokenizerConfig:
        """What is learnt from the training texts."""
        return self.tokenizer

    def built(self, vocabulary: int) -> GenerativeModel:
        """The model that is trained, freshly initialised, with what only training needs."""
        model: GenerativeModel = self.model.build(vocabulary)  # type: ignore[attr-defined]
        return model

    def _objective(self) -> Objective:
        experts = getattr(self.model, "experts", None)
        objective: Objective = self.objective.build(experts)  # type: ignore[attr-defined]
        return objective

    def _stream(self, tokens: Tokens, tokenizer: Tokenizer) -> Any:
        """Batches for ever, and the whole once."""
        return PackedStream(tokens, self.batching, self.training.seed)

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


class LanguageRecipe(PackedRecipe):
    """A language model: what comes next."""

    task: Literal["language_modelling"] = "language_modelling"
    tokenizer: TokenizerConfig = TokenizerConfig(byte_level=True)
    model: LanguageModelConfig = DecoderConfig()
    objective: LanguageObjective = CausalConfig()
    dial: DialConfig | None = Field(None, description="rules that size a run for a budget")
    plan: Plan | None = Field(None, description="what they chose for this run")

    @model_validator(mode="after")
    def _objective_fits(self) -> LanguageRecipe:
        if isinstance(self.objective, PrefixConfig) and not isinstance(self.model, DecoderConfig):
            raise ValueError(
                f"a {self.model.kind} reads in one direction only; objective.kind=prefix needs "
                "model.kind=decoder"
            )
        if self.objective.ahead and not isinstance(self.model, DecoderConfig):
            raise ValueError(
                f"a {self.model.kind} has no heads that look further ahead; objective.ahead needs "
                "model.kind=decoder"
            )
        if self.objective.ahead + 1 >= self.batching.length:
            raise ValueError(
                f"no token of a row of {self.batching.length} has {self.objective.ahead + 1} after "
                f"it: set objective.ahead to {self.batching.length - 2} or less"
            )
        grows = isinstance(self.model, DecoderConfig) and not self.model.qk_norm
        if self.objective.qk_clip is not None and not grows:
            raise ValueError(
                "objective.qk_clip bounds the scores of a decoder's attention, which model.qk_norm "
                "bounds already: use one of them, with model.kind=decoder"
            )
        if isinstance(self.objective, InfillingObjectiveConfig):
            missing = [token for token in INFILLING if token not in self.tokenizer.special]
            if missing:
                raise ValueError(
                    f"fill_in_the_middle marks pieces with {' '.join(INFILLING)}: "
                    f"add {', '.join(missing)} to tokenizer.special"
                )
            exact = self.tokenizer.byte_level or self.tokenizer.kind in ("byte", "character")
            if not exact:
                raise ValueError(
                    "fill_in_the_middle cuts texts inside words, whose pieces this tokenizer would "
                    "read as words: set tokenizer.byte_level=true, or kind to byte or character"
                )
        return self

    def built(self, vocabulary: int) -> LanguageModel:
        model = super().built(vocabulary)
        assert isinstance(model, LanguageModel)
        if isinstance(model, Decoder) and self.objective.ahead:
            model.ahead = MultiTokenHeads(model.config, self.objective.ahead)
        return model

    def assemble(self, run: RunDirectory, device: torch.device, say: Say) -> Assembly:
        parts = super().assemble(run, device, say)
        hooks: list[Hook] = []
        # Elsewhere not every token that is read is a target token, which is what steps count.
        if not isinstance(self.objective, PrefixConfig):
            hooks.append(Efficiency(run, token_flops(parts.model, self.batching.length)))
        if self.plan is not None and self.plan.predicted is not None:
            hooks.append(Forecast(run, self.plan.predicted, say))
        return replace(parts, hooks=hooks)

    def _encoding(self, tokenizer: Tokenizer) -> Tokenization:
        if not isinstance(self.objective, InfillingObjectiveConfig):
            return PlainTokenization(tokenizer)
        return Infilling(self.objective.infilling, tokenizer, self.training.seed)

    def _stream(self, tokens: Tokens, tokenizer: Tokenizer) -> PackedRows[Any]:
        kind = PrefixStream if isinstance(self.objective, PrefixConfig) else PackedStream
        return kind(tokens, self.batching, self.training.seed)

    def measured(self) -> set[str]:
        return {"loss", *self.scored()}

    def scored(self) -> set[str]:
        return {"nll", "perplexity", "bits_per_byte"}

    def _evaluator(
        self, model: Any, tokenizer: Tokenizer, objective: Objective, batches: list[Any], of: Packed
    ) -> LanguageEvaluator:
        completer = Completer(model, tokenizer, self.batching)
        return LanguageEvaluator(objective, batches, of, completer, self.evaluation)


class MaskedRecipe(PackedRecipe):
    """An encoder that says what is hidden, and, with `model.next_sentence`, what follows (BERT)."""

    task: Literal["masked_language_modelling"] = "masked_language_modelling"
    tokenizer: TokenizerConfig = TokenizerConfig(kind="wordpiece", special=(MASK,))
    model: EncoderConfig = EncoderConfig()
    objective: MaskedConfig = MaskedConfig()
    masking: MaskingConfig = MaskingConfig()

    @model_validator(mode="after")
    def _parts_fit(self) -> MaskedRecipe:
        if MASK not in self.tokenizer.special:
            raise ValueError(f"tokens are hidden by {MASK}: set tokenizer.special=[[MASK]]")
        longest = self.model.max_length if self.model.positions == "learned" else None
        if longest is not None and self.batching.length > longest:
            raise ValueError(
                f"rows of {self.batching.length} tokens are longer than model.max_length "
                f"{longest}; set batching.length to {longest} or less"
            )
        if self.model.next_sentence and self.batching.length < AROUND + 2:
            raise ValueError(
                f"rows of two texts need batching.length {AROUND + 2} or more, not "
                f"{self.batching.length}"
            )
        if not self.model.masked:
            raise ValueError("the model has to say what is hidden: set model.masked=true")
        return self

    def measured(self) -> set[str]:
        relation = {"next_sentence", "next_sentence_accuracy"} if self.model.next_sentence else {}
        return {"loss", "nll", "perplexity", "accuracy", *relation}

    def scored(self) -> set[str]:
        return {"perplexity"}

    def _stream(self, tokens: Tokens, tokenizer: Tokenizer) -> PackedRows[Any]:
        kind = SentencePairStream if self.model.next_sentence else MaskedStream
        return kind(tokens, self.batching, self.training.seed, self.masking, tokenizer)

    def _evaluator(
        self, model: Any, tokenizer: Tokenizer, objective: Objective, batches: list[Any], of: Packed
    ) -> MaskedEvaluator:
        filler = Filler(model, tokenizer, self.batching, self.masking)
        return MaskedEvaluator(objective, batches, filler, self.evaluation.sample)


class LanguageEvaluator:
    """Loss, perplexity and bits per byte of the whole validation set; a sample."""

    def __init__(
        self,
        objective: Objective,
        batches: list[LanguageBatch],
        packed: Packed,
        completer: Completer,
        config: LanguageEvaluation,
    ) -> None:
        self.objective, self.batches, self.completer = objective, batches, completer
        self.tokens = sum(batch.target_tokens for batch in batches)
        self.bytes, self.config = packed.bytes, config

    @torch.no_grad()
    def __call__(self, step: int) -> EvaluateEvent:
        metrics = mean_losses(self.completer.model, self.objective, self.batches)
        metrics["perplexity"] = perplexity(metrics["nll"], 1)
        metrics["bits_per_byte"] = BitsPerByte.of(metrics["nll"] * self.tokens, self.bytes)
        if self.config.sample is None:
            return EvaluateEvent(step, metrics)
        prompt = self.config.sample
        said = self.completer.complete(
            [prompt], max_tokens=self.config.tokens, sampling=SamplingParameters()
        )
        return EvaluateEvent(step, metrics, ((prompt, said[0].text),))


class MaskedEvaluator:
    """Loss, perplexity and accuracy at hidden tokens of the whole validation set; a sample."""

    def __init__(
        self, objective: Objective, batches: list[MaskedBatch], filler: Filler, sample: str | None
    ) -> None:
        self.objective, self.batches, self.filler, self.sample = objective, batches, filler, sample

    @torch.no_grad()
    def __call__(self, step: int) -> EvaluateEvent:
        metrics = mean_losses(self.filler.model, self.objective, self.batches)
        metrics["perplexity"] = perplexity(metrics["nll"], 1)
        if self.sample is None:
            return EvaluateEvent(step, metrics)
        ((candidates, *_),) = self.filler.fill([self.sample])
        said = ", ".join(one.token for one in candidates)
        return EvaluateEvent(step, metrics, ((self.sample, said),))
