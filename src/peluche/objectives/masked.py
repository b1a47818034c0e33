"""Masked language modelling: what stood where tokens are hidden."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import nn

from peluche.config import Config
from peluche.data.masking import MaskedBatch
from peluche.models.encoder import Encoder
from peluche.nn.experts import ExpertsConfig, collecting
from peluche.objectives.base import Losses, Metric, Term
from peluche.objectives.routing import RoutingTerms


class MaskedConfig(Config):
    """Maximum likelihood of hidden tokens (Devlin et al. 2019, §3.1)."""

    kind: Literal["masked"] = "masked"
    label_smoothing: float = Field(0.0, ge=0, lt=1)

    def build(self, experts: ExpertsConfig | None = None) -> MaskedObjective:
        """For a model with these experts, if it has any."""
        return MaskedObjective(self, None if experts is None else RoutingTerms(experts))


class MaskedObjective:
    """Term `loss` is (label-smoothed) cross-entropy in nats per hidden token.

    Metrics: `nll`, the same without smoothing, and `accuracy`, the share that is said right. For a
    mixture of experts, see `RoutingTerms`.
    """

    def __init__(self, config: MaskedConfig, routing: RoutingTerms | None = None) -> None:
        self.config, self.routing = config, routing

    @property
    def whole_step(self) -> bool:
        """See `Objective`."""
        return self.routing is not None and self.routing.whole_step

    def counts(self, batch: MaskedBatch) -> dict[str, float]:
        counts = {"loss": float(batch.hidden.sum())}
        return (
            counts if self.routing is None else counts | self.routing.counts(batch.tokens.numel())
        )

    def __call__(self, model: Encoder, batch: MaskedBatch) -> Losses:
        with collecting() as routings:
            hidden = model.hidden(
                batch.tokens,
                valid=None if bool(batch.present.all()) else batch.present,
                document_ids=batch.document_ids,
            )
        said, labels = hidden[batch.hidden], batch.labels[batch.hidden]
        loss, nll = model.token_loss(said, labels, self.config.label_smoothing)
        count = float(len(labels))
        metrics = {"nll": Metric(float(nll), count)}
        if not model.training:  # it takes all logits
            right = (model.logits(said).argmax(-1) == labels).sum()
            metrics["accuracy"] = Metric(100 * float(right), count)
        losses = Losses({"loss": Term(loss, count)}, metrics)
        return losses if self.routing is None else self.routing.added(losses, routings)

    def stepped(self, model: nn.Module) -> None:
        """See `Objective`."""
        if self.routing is not None:
            self.routing.stepped(model)
