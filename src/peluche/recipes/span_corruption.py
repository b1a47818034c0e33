"""The recipe of an encoder-decoder that learns from texts alone (T5)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from peluche.data.span_corruption import SpanCorruptionConfig, SpanStream
from peluche.data.token_store import Packed
from peluche.data.tokens import Tokens
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.objectives.base import Objective
from peluche.objectives.translation import TranslationConfig
from peluche.recipes.masked import FillingEvaluator
from peluche.recipes.packed import PackedRecipe
from peluche.tasks.fill_spans import SpanFiller
from peluche.text.tokenizer import Tokenizer, TokenizerConfig


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
    ) -> FillingEvaluator:
        filler = SpanFiller(model, tokenizer, self.batching, self.corruption)

        def fill(text: str) -> list[str]:
            (spans,) = filler.fill([text], 1)
            return [candidates[0].token for candidates in spans]

        return FillingEvaluator(model, objective, batches, fill, self.evaluation.sample)
