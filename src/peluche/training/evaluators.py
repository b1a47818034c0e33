"""Validation of a translator while it trains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from pydantic import Field, field_validator
from torch import nn

from peluche.config import Config
from peluche.data.batching import TranslationStream
from peluche.data.sources import Pair
from peluche.errors import did_you_mean
from peluche.memory import InPieces
from peluche.metrics import perplexity, score
from peluche.metrics.registry import METRICS, Tokenization
from peluche.models.translation import TranslationModel
from peluche.objectives.base import Objective
from peluche.tasks.evaluation import Evaluable
from peluche.tasks.translate import Translator
from peluche.training.events import EvaluateEvent
from peluche.training.totals import Totals

SMALLER = "make batching.tokens smaller; if other programs use memory, stop them"


class EvaluationConfig(Config):
    """What is measured on the validation set while training, and on the test set at the end."""

    metrics: tuple[str, ...] = ("bleu", "chrf", "exact_match")
    tokenize: Tokenization = Field("13a", description="sacreBLEU's tokenisation of the scored text")
    sentences: int = Field(200, ge=0, description="validation sentences translated (greedily)")
    sample: str | None = Field(None, description="a sentence translated at every evaluation")

    @field_validator("metrics")
    @classmethod
    def _metrics_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in METRICS:
                raise ValueError(f"there is no metric '{name}'; {did_you_mean(name, METRICS)}")
        return names

    def score_options(self) -> dict[str, Any]:
        """Options of `metrics.score` that this protocol fixes."""
        # Who asks for no tokenisation knows that the text is tokenised: no warning of it.
        return {"tokenize": self.tokenize, "force": self.tokenize == "none"}


class TranslationEvaluator:
    """Loss and perplexity on the whole validation set, metrics on part of it."""

    def __init__(
        self,
        model: TranslationModel,
        objective: Objective,
        stream: TranslationStream,
        pairs: Sequence[Pair],
        translator: Translator,
        config: EvaluationConfig,
    ) -> None:
        self.model, self.objective, self.translator = model, objective, translator
        self.batches = list(stream.once())
        self.pairs, self.config = pairs[: config.sentences], config

    @torch.no_grad()
    def __call__(self, step: int) -> EvaluateEvent:
        metrics = mean_losses(self.model, self.objective, self.batches)
        metrics["perplexity"] = perplexity(metrics["nll"], 1)
        if self.pairs:
            hypotheses = self.translator.translate([pair.source for pair in self.pairs], beams=1)
            scores = score(
                self.config.metrics,
                hypotheses,
                [pair.target for pair in self.pairs],
                bootstrap=0,
                **self.config.score_options(),
            )
            metrics |= {item.metric: item.score for item in scores}
        samples = []
        if self.config.sample is not None:
            said = self.translator.translate([self.config.sample], beams=1)[0]
            samples.append((self.config.sample, said))
        return EvaluateEvent(step, metrics, tuple(samples))


class TaskEvaluator:
    """Losses on the validation set, and what the task measures of it.

    Args:
        batches: of the validation set.
        task: by the same model.
        examples: the validation set.
        figures: the measurements to keep; None: all.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        batches: Iterable[Any],
        task: Evaluable,
        examples: Sequence[Any],
        figures: Sequence[str] | None = None,
    ) -> None:
        self.model, self.objective, self.batches = model, objective, list(batches)
        self.task, self.examples, self.figures = task, examples, figures

    @torch.no_grad()
    def __call__(self, step: int) -> EvaluateEvent:
        metrics = mean_losses(self.model, self.objective, self.batches)
        for found in self.task.measure(self.examples).scores(bootstrap=0):
            if self.figures is None or found.metric in self.figures:
                metrics[found.metric] = found.score
        return EvaluateEvent(step, metrics)


def mean_losses(model: nn.Module, objective: Objective, batches: Iterable[Any]) -> dict[str, float]:
    """Each term and metric of an objective, averaged over all items of the batches."""
    device = next(model.parameters()).device
    totals, in_pieces = Totals(), InPieces("a row of the validation set", SMALLER)
    whole = bool(getattr(objective, "whole_step", False))
    for batch in batches:
        moved = batch.to(device)
        if whole:
            found = in_pieces.of([moved], lambda one: objective(model, one[0]))
            totals.add(next(losses for _, losses in found))
            continue
        for losses in in_pieces.of_batch(moved, lambda piece: objective(model, piece)):
            totals.add(losses)
    return totals.means()
