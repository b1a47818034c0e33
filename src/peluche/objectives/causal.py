"""Language modelling: cross-entropy of every token given those before it in its document."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from peluche.config import Config
from peluche.data.packing import LanguageBatch
from peluche.models.language_model import LanguageModel
from peluche.objectives.base import Losses, Metric, Term


class CausalConfig(Config):
    """Maximum likelihood of the next token (Bengio et al. 2003, §2)."""

    kind: Literal["causal"] = "causal"
    label_smoothing: float = Field(0.0, ge=0, lt=1)

    def build(self) -> CausalObjective:
        return CausalObjective(self)


class CausalObjective:
    """Every token, [EOS] included, given those before it.

    Term `loss` is (label-smoothed) cross-entropy in nats per token; metric `nll` the same without
    smoothing, whose exponential is the perplexity.
    """

    def __init__(self, config: CausalConfig) -> None:
        self.config = config

    def counts(self, batch: LanguageBatch) -> dict[str, float]:
        return {"loss": float(batch.target_tokens)}

    def __call__(self, model: LanguageModel, batch: LanguageBatch) -> Losses:
        hidden = model.hidden(batch.tokens, document_ids=batch.document_ids)
        labels = batch.labels[batch.valid]
        loss, nll = model.token_loss(hidden[batch.valid], labels, self.config.label_smoothing)
        count = float(len(labels))
        return Losses(terms={"loss": Term(loss, count)}, metrics={"nll": Metric(float(nll), count)})
