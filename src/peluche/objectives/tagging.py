"""Tagging: how likely the true tags of a sentence are."""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional as F

from peluche.config import Config
from peluche.data.annotation import SentenceBatch
from peluche.models.tagger import Tagger
from peluche.objectives.base import Losses, Metric, Term


class TaggingConfig(Config):
    """−log p of the true tags: of each by itself, or of all together where the model has a CRF."""

    kind: Literal["tagging"] = "tagging"

    def build(self) -> TaggingObjective:
        return TaggingObjective()


class TaggingObjective:
    """Term `loss` in nats per token; metric `accuracy`, of each tag by itself."""

    def counts(self, batch: SentenceBatch) -> dict[str, float]:
        return {"loss": float(batch.target_tokens)}

    def __call__(self, model: Tagger, batch: SentenceBatch) -> Losses:
        assert batch.tags is not None, "the batch has tags"
        logits = model.logits(batch).float()
        said, true = logits[batch.valid], batch.tags[batch.valid]
        if model.chain is not None:
            loss = model.chain.loss(logits, batch.tags, batch.valid).sum()
        else:
            loss = F.cross_entropy(said, true, reduction="sum")
        count = float(len(true))
        with torch.no_grad():
            right = 100 * float((said.argmax(-1) == true).sum())
        return Losses({"loss": Term(loss, count)}, {"accuracy": Metric(right, count)})
