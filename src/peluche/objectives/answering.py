"""Question answering: how likely the true ends of the answer are."""

from __future__ import annotations

from typing import Literal

from torch.nn import functional as F

from peluche.config import Config
from peluche.data.answering import AnswerBatch
from peluche.models.answerer import Answerer
from peluche.objectives.base import Losses, Metric, Term


class AnswerSpanConfig(Config):
    """−log p of the first and of the last token of the answer, their mean."""

    kind: Literal["answer_span"] = "answer_span"

    def build(self) -> AnswerSpanObjective:
        return AnswerSpanObjective()


class AnswerSpanObjective:
    """Term `loss` in nats per passage; metric `accuracy`: both ends by themselves are right."""

    def counts(self, batch: AnswerBatch) -> dict[str, float]:
        return {"loss": float(len(batch.starts))}

    def __call__(self, model: Answerer, batch: AnswerBatch) -> Losses:
        starts, ends = model.scores(batch)
        loss = F.cross_entropy(starts.float(), batch.starts, reduction="sum")
        loss = (loss + F.cross_entropy(ends.float(), batch.ends, reduction="sum")) / 2
        right = (starts.argmax(-1) == batch.starts) & (ends.argmax(-1) == batch.ends)
        count = float(len(batch.starts))
        metrics = {"accuracy": Metric(100 * float(right.sum()), count)}
        return Losses({"loss": Term(loss, count)}, metrics)
