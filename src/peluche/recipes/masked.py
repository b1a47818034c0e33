"""The recipe of an encoder that says what is hidden (BERT)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from pydantic import model_validator
from torch import nn

from peluche.data.masking import MaskedStream, MaskingConfig
from peluche.data.next_sentence import AROUND, SentencePairStream
from peluche.data.packing import PackedRows
from peluche.data.token_store import Packed
from peluche.data.tokens import Tokens
from peluche.metrics import perplexity
from peluche.models.encoder import EncoderConfig
from peluche.objectives.base import Objective
from peluche.objectives.masked import MaskedConfig
from peluche.recipes.packed import PackedRecipe
from peluche.tasks.fill import Filler
from peluche.text.tokenizer import MASK, Tokenizer, TokenizerConfig
from peluche.training.evaluators import mean_losses
from peluche.training.events import EvaluateEvent


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
            raise ValueError(f"tokens are hidden by {MASK}: set tokenizer.special='[\"[MASK]\"]'")
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
    ) -> FillingEvaluator:
        filler = Filler(model, tokenizer, self.batching, self.masking)

        def fill(text: str) -> list[str]:
            ((candidates, *_),) = filler.fill([text])
            return [one.token for one in candidates]

        return FillingEvaluator(model, objective, batches, fill, self.evaluation.sample)


class FillingEvaluator:
    """What the objective measures on the whole validation set, and the perplexity; a sample.

    Args:
        fill: what stands where something is missing in a text.
        sample: such a text; None for no sample.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        batches: Sequence[Any],
        fill: Callable[[str], list[str]],
        sample: str | None,
    ) -> None:
        self.model, self.objective, self.batches = model, objective, batches
        self.fill, self.sample = fill, sample

    @torch.no_grad()
    def __call__(self, step: int) -> EvaluateEvent:
        metrics = mean_losses(self.model, self.objective, self.batches)
        metrics["perplexity"] = perplexity(metrics["nll"], 1)
        if self.sample is None:
            return EvaluateEvent(step, metrics)
        return EvaluateEvent(step, metrics, ((self.sample, ", ".join(self.fill(self.sample))),))
