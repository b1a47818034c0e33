"""The recipe of a language model."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator

from peluche.config import kind_unless_given
from peluche.data.infilling import INFILLING, Infilling
from peluche.data.packing import LanguageBatch, PackedRows, PackedStream, PrefixStream
from peluche.data.token_store import Packed
from peluche.data.tokenization import PlainTokenization, Tokenization
from peluche.data.tokens import Tokens
from peluche.errors import ConfigError
from peluche.generation.sampling import SamplingParameters
from peluche.hub.resolve import open_source
from peluche.hub.run import RunDirectory
from peluche.metrics import perplexity
from peluche.metrics.perplexity import BitsPerByte
from peluche.models.costs import token_flops
from peluche.models.decoder import Decoder, DecoderConfig
from peluche.models.language_model import LanguageModel
from peluche.models.language_registry import LanguageModelConfig
from peluche.models.multi_token import MultiTokenHeads
from peluche.models.pretrained_generative import PretrainedLanguageConfig
from peluche.objectives.base import Objective
from peluche.objectives.causal import CausalConfig, InfillingObjectiveConfig, PrefixConfig
from peluche.recipes.base import Assembly, Say
from peluche.recipes.packed import LanguageEvaluation, PackedRecipe
from peluche.recipes.pretrained_generative import described, start_from
from peluche.recipes.scaling_law import DialConfig, Plan
from peluche.tasks.complete import Completer
from peluche.text.tokenizer import Tokenizer, TokenizerConfig
from peluche.training.efficiency import Efficiency, Forecast
from peluche.training.evaluators import mean_losses
from peluche.training.events import EvaluateEvent, Hook

LanguageObjective = Annotated[
    CausalConfig | PrefixConfig | InfillingObjectiveConfig,
    Field(discriminator="kind"),
    kind_unless_given("causal"),
]


def _keeps_text(tokenizer: TokenizerConfig | Tokenizer) -> bool:
    """Whether any piece of a text becomes the tokens of just that piece."""
    return tokenizer.byte_level or tokenizer.kind in ("byte", "character")


class LanguageRecipe(PackedRecipe):
    """A language model: what comes next."""

    task: Literal["language_modelling"] = "language_modelling"
    tokenizer: TokenizerConfig = TokenizerConfig(byte_level=True)
    model: LanguageModelConfig = DecoderConfig()
    objective: LanguageObjective = CausalConfig()
    dial: DialConfig | None = Field(None, description="rules that size a run for a budget")
    plan: Plan | None = Field(None, description="what they chose for this run")

    @property
    def architecture(self) -> Any:
        if not isinstance(self.model, PretrainedLanguageConfig):
            return self.model
        return self.model.architecture and self.model.resolved

    @model_validator(mode="after")
    def _objective_fits(self) -> LanguageRecipe:
        model = self.architecture
        if model is None:  # asked again once it is known
            return self
        if isinstance(self.objective, PrefixConfig) and not isinstance(model, DecoderConfig):
            raise ValueError(
                f"a {model.kind} reads in one direction only; objective.kind=prefix needs "
                "model.kind=decoder"
            )
        if self.objective.ahead and not isinstance(model, DecoderConfig):
            raise ValueError(
                f"a {model.kind} has no heads that look further ahead; objective.ahead needs "
                "model.kind=decoder"
            )
        if self.objective.ahead + 1 >= self.batching.length:
            raise ValueError(
                f"no token of a row of {self.batching.length} has {self.objective.ahead + 1} after "
                f"it: set objective.ahead to {self.batching.length - 2} or less"
            )
        grows = isinstance(model, DecoderConfig) and not model.qk_norm
        if self.objective.qk_clip is not None and not grows:
            raise ValueError(
                "objective.qk_clip bounds the scores of a decoder's attention, which model.qk_norm "
                "bounds already: use one of them, with model.kind=decoder"
            )
        learnt = not isinstance(self.model, PretrainedLanguageConfig)
        if learnt and isinstance(self.objective, InfillingObjectiveConfig):
            missing = [token for token in INFILLING if token not in self.tokenizer.special]
            if missing:
                raise ValueError(
                    f"fill_in_the_middle marks pieces with {' '.join(INFILLING)}: "
                    f"set tokenizer.special='{json.dumps([*self.tokenizer.special, *missing])}'"
                )
            if not _keeps_text(self.tokenizer):
                raise ValueError(
                    "fill_in_the_middle cuts texts inside words, whose pieces this tokenizer would "
                    "read as words: set tokenizer.byte_level=true, or kind to byte or character"
                )
        return self

    def completed(self) -> Self:
        """See `Recipe.completed`."""
        if not isinstance(self.model, PretrainedLanguageConfig):
            return self
        tokenizer = self._first_tokenizer()
        if tokenizer.bos_id < 0 and tokenizer.eos_id < 0:
            raise ConfigError(
                "nothing is known that begins or ends a text for this model",
                where=self.model.model,
                remedy="give a model whose tokenizer has a token for one of them",
            )
        marked = all(tokenizer.id(token) is not None for token in INFILLING)
        if isinstance(self.objective, InfillingObjectiveConfig) and not (
            marked and _keeps_text(tokenizer)
        ):
            raise ConfigError(
                f"the tokenizer of this model has no {' '.join(INFILLING)}, or cuts words only",
                where=self.model.model,
                remedy="start from a run of objective.kind=fill_in_the_middle, or set "
                "objective.kind=causal",
            )
        model = described(self.model, self.objective.ahead)
        values = self.model_copy(update={"model": model}).model_dump(mode="json")
        return self.parse(values, where=f"a start from {model.model}")

    def _first_tokenizer(self) -> Tokenizer:
        if isinstance(self.model, PretrainedLanguageConfig):
            return open_source(self.model.model).tokenizer()
        return super()._first_tokenizer()

    def built(self, vocabulary: int) -> LanguageModel:
        model = super().built(vocabulary)
        assert isinstance(model, LanguageModel)
        if isinstance(model, Decoder) and self.objective.ahead:
            model.ahead = MultiTokenHeads(model.config, self.objective.ahead)
        return model

    def assemble(self, run: RunDirectory, device: torch.device, say: Say) -> Assembly:
        parts = super().assemble(run, device, say)
        if isinstance(self.model, PretrainedLanguageConfig):
            start_from(self.model, parts.model, run, say)
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
        return kind(tokens, self.batching, self.training.seed, tokenizer.special)

    def measured(self) -> set[str]:
        return {"loss", *self.scored()}

    def scored(self) -> set[str]:
        return {"nll", "perplexity", "bits_per_byte"}

    def _evaluator(
        self, model: Any, tokenizer: Tokenizer, objective: Objective, batches: list[Any], of: Packed
    ) -> LanguageEvaluator:
        completer = Completer(model, tokenizer, self.batching)
        return LanguageEvaluator(objective, batches, of, completer, self.evaluation)


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
