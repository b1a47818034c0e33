"""The recipe of an encoder-decoder that learns from texts alone (T5)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import model_validator

from peluche.data.batching import TranslationBatch
from peluche.data.span_corruption import SpanCorruptionConfig, SpanStream
from peluche.data.token_store import Packed
from peluche.data.tokens import Tokens
from peluche.metrics import perplexity
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.objectives.base import Objective
from peluche.objectives.translation import TranslationConfig
from peluche.recipes.packed import PackedRecipe
from peluche.tasks.fill_spans import SpanFiller
from peluche.text.tokenizer import Tokenizer, TokenizerConfig
from peluche.training.evaluators import mean_losses
from peluche.training.events import EvaluateEvent


class SpanCorruptionRecipe(PackedRecipe):
    """An encoder-decoder that says what is cut out of texts."""

    task: Literal["span_corruption"] = "span_corruption"
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: EncoderDecoderConfig = EncoderDecoderConfig(positions="relative")
    objective: TranslationConfig = TranslationConfig(label_smoothing=0.0)
    corruption: SpanCorruptionConfig = SpanCorruptionConfig()

    @model_validator(mode="after")
    def _parts_fit(self) -> SpanCorruptionRecipe:
        spans = self.corruption.spans(self.corruption.raw_length(self.batching.length))[1]
        if spans > self.corruption.sentinels:
            raise ValueError(
                f"a row of {self.batching.length} tokens has {spans} spans; "
                f"set corruption.sentinels to {spans} or more"
            )
        longest = self.model.max_length if self.model.positions == "learned" else None
        if longest is not None and self.batching.length > longest:
            raise ValueError(
                f"rows of {self.batching.length} tokens are longer than model.max_length "
                f"{longest}; set batching.length to {longest} or less"
            )
        return self

    def measured(self) -> set[str]:
        return {"loss", "nll", "perplexity"}

    def scored(self) -> set[str]:
        return {"perplexity"}

    def learnt_tokenizer(self) -> TokenizerConfig:
        special = (*self.tokenizer.special, *self.corruption.names())
        return self.tokenizer.model_copy(update={"special": special})

    def _objective(self) -> Objective:
        return self.objective.build()

    def _stream(self, tokens: Tokens, tokenizer: Tokenizer) -> SpanStream:
        return SpanStream(tokens, self.batching, self.training.seed, self.corruption, tokenizer)

    def _evaluator(
        self, model: Any, tokenizer: Tokenizer, objective: Objective, batches: list[Any], of: Packed
    ) -> SpanEvaluator:
        filler = SpanFiller(model, tokenizer, self.batching, self.corruption)
        return SpanEvaluator(objective, batches, filler, self.evaluation.sample)


class SpanEvaluator:
    """Loss and perplexity of hidden spans of the whole validation set; a sample."""

    def __init__(
        self,
        objective: Objective,
        batches: list[TranslationBatch],
        filler: SpanFiller,
        sample: str | None,
    ) -> None:
        self.objective, self.batches, self.filler, self.sample = objective, batches, filler, sample

    @torch.no_grad()
    def __call__(self, step: int) -> EvaluateEvent:
        metrics = mean_losses(self.filler.model, self.objective, self.batches)
        metrics["perplexity"] = perplexity(metrics["nll"], 1)
        if self.sample is None:
            return EvaluateEvent(step, metrics)
        (spans,) = self.filler.fill([self.sample], 1)
        said = ", ".join(candidates[0].token for candidates in spans)
        return EvaluateEvent(step, metrics, ((self.sample, said),))
