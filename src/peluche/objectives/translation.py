"""Translation: label-smoothed cross-entropy of the target sentence given the source."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from peluche.config import Config
from peluche.data.batching import TranslationBatch
from peluche.models.translation import TranslationModel
from peluche.objectives.base import Losses, Metric, Term


class TranslationConfig(Config):
    """Cross-entropy with teacher forcing (Vaswani et al. 2017, §5.4 for the smoothing)."""

    kind: Literal["translation"] = "translation"
    label_smoothing: float = Field(0.1, ge=0, lt=1)

    def build(self) -> TranslationObjective:
        return TranslationObjective(self)


class TranslationObjective:
    """Every target token, [EOS] included, given the source and the tokens before it.

    Term `loss` is label-smoothed cross-entropy in nats per token; metric `nll` the same without
    smoothing, whose exponential is the perplexity.
    """

    def __init__(self, config: TranslationConfig) -> None:
        self.config = config

    def counts(self, batch: TranslationBatch) -> dict[str, float]:
        return {"loss": float(batch.target_tokens)}

    def __call__(self, model: TranslationModel, batch: TranslationBatch) -> Losses:
        memory = model.encode(batch.source, batch.source_valid)
        hidden = model.hidden(batch.target_in, condition=memory)
        labels = batch.target_out[batch.target_valid]
        loss, nll = model.token_loss(
            hidden[batch.target_valid], labels, self.config.label_smoothing
        )
        count = float(len(labels))
        return Losses(terms={"loss": Term(loss, count)}, metrics={"nll": Metric(float(nll), count)})
