"""Masked language modelling: what stood where tokens are hidden; and what follows what."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import nn
from torch.nn import functional as F

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

    Of rows of two texts, term `next_sentence` is the cross-entropy of whether the second follows
    the first, in nats per row (Devlin et al. 2019, §3.1, task 2); metric
    `next_sentence_accuracy`.
    """

    def __init__(self, config: MaskedConfig, routing: RoutingTerms | None = None) -> None:
        self.config, self.routing = config, routing

    exchanges = True  # what routers did is added up over processes

    @property
    def whole_step(self) -> bool:
        """See `Objective`."""
        return self.routing is not None and self.routing.whole_step

    def counts(self, batch: MaskedBatch) -> dict[str, float]:
        counts = {"loss": float(batch.hidden.sum())}
        if batch.relations is not None:
            counts["next_sentence"] = float(len(batch.relations))
        return (
            counts if self.routing is None else counts | self.routing.counts(batch.tokens.numel())
        )

    def __call__(self, model: Encoder, batch: MaskedBatch) -> Losses:
        with collecting() as routings:
            hidden = model.hidden(
                batch.tokens,
                valid=None if bool(batch.present.all()) else batch.present,
                document_ids=None if batch.segments is not None else batch.document_ids,
                segments=batch.segments,
            )
        said, labels = hidden[batch.hidden], batch.labels[batch.hidden]
        loss, nll = model.token_loss(said, labels, self.config.label_smoothing)
        count = float(len(labels))
        metrics = {"nll": Metric(float(nll), count)}
        if not model.training:  # it takes all logits
            right = (model.logits(said).argmax(-1) == labels).sum()
            metrics["accuracy"] = Metric(100 * float(right), count)
        terms = {"loss": Term(loss, count)}
        if batch.relations is not None:
            scores, rows = model.relation_logits(hidden).float(), float(len(batch.relations))
            relation = F.cross_entropy(scores, batch.relations, reduction="sum")
            terms["next_sentence"] = Term(relation, rows)
            follows = 100 * float((scores.argmax(-1) == batch.relations).sum())
            metrics["next_sentence_accuracy"] = Metric(follows, rows)
        losses = Losses(terms, metrics)
        return losses if self.routing is None else self.routing.added(losses, routings)

    def begin(self) -> None:
        """See `SteppedObjective`."""
        if self.routing is not None:
            self.routing.begin()

    def stepped(self, model: nn.Module) -> None:
        """See `Objective`."""
        if self.routing is not None:
            self.routing.stepped(model)
