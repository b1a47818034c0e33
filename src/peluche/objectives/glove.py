"""GloVe: products of vectors as logarithms of co-occurrence counts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from peluche.config import Config
from peluche.data.cooccurrence import CooccurrenceBatch
from peluche.models.word_vectors import Glove
from peluche.objectives.base import Losses, Term


class GloveLossConfig(Config):
    """Weighted least squares (Pennington et al. 2014, eq. 8 and 9).

    Attributes:
        most: counts over this weigh no more (x_max).
        power: of the weight of smaller counts (α).
    """

    kind: Literal["glove"] = "glove"
    most: float = Field(100.0, gt=0)
    power: float = Field(0.75, ge=0)

    def build(self) -> GloveLoss:
        return GloveLoss(self)


class GloveLoss:
    """Term `loss`: f(X)·(w·c + b_w + b_c − log X)², the mean over pairs that occur."""

    def __init__(self, config: GloveLossConfig) -> None:
        self.config = config

    def counts(self, batch: CooccurrenceBatch) -> dict[str, float]:
        return {"loss": float(len(batch.words))}

    def __call__(self, model: Glove, batch: CooccurrenceBatch) -> Losses:
        weight = (batch.counts / self.config.most).clamp(max=1) ** self.config.power
        errors = model(batch.words, batch.contexts) - batch.counts.log()
        return Losses({"loss": Term((weight * errors**2).sum(), float(len(batch.words)))})
