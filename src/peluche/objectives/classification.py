"""Classification: cross-entropy of each text's label."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch.nn import functional as F

from peluche.config import Config
from peluche.data.classification import ClassificationBatch
from peluche.models.classifier import Classifier
from peluche.objectives.base import Losses, Metric, Term


class ClassificationConfig(Config):
    """Cross-entropy with label smoothing (Szegedy et al. 2016, §7)."""

    kind: Literal["classification"] = "classification"
    label_smoothing: float = Field(0.0, ge=0, lt=1)

    def build(self) -> ClassificationObjective:
        return ClassificationObjective(self)


class ClassificationObjective:
    """Term `loss` in nats per text; metrics `nll`, without smoothing, and `accuracy`.

    A model of several parts is trained part by part: n-grams counted in the training texts tell
    their labels at once, and the sum would leave an encoder beside them nothing to learn.
    """

    def __init__(self, config: ClassificationConfig) -> None:
        self.config = config

    def counts(self, batch: ClassificationBatch) -> dict[str, float]:
        return {"loss": float(len(batch.labels))}

    def __call__(self, model: Classifier, batch: ClassificationBatch) -> Losses:
        parts = model.parts(model.hidden(batch.tokens, batch.valid, batch.segments))
        smoothing = self.config.label_smoothing
        losses = [
            F.cross_entropy(part.float(), batch.labels, label_smoothing=smoothing, reduction="sum")
            for part in parts
        ]
        loss = torch.stack(losses).sum()
        count = float(len(batch.labels))
        with torch.no_grad():
            logits = torch.stack(parts).sum(0).float()
            nll = float(F.cross_entropy(logits, batch.labels, reduction="sum"))
            right = 100 * float((logits.argmax(-1) == batch.labels).sum())
        metrics = {"nll": Metric(nll, count), "accuracy": Metric(right, count)}
        return Losses(terms={"loss": Term(loss, count)}, metrics=metrics)
