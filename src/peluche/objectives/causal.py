"""Language modelling: cross-entropy of every token given those before it in its document."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

from jaxtyping import Bool, Int
from pydantic import Field
from torch import Tensor, nn

from peluche.config import Config
from peluche.data.infilling import InfillingConfig
from peluche.data.packing import LanguageBatch
from peluche.models.decoder import Decoder
from peluche.models.language_model import LanguageModel
from peluche.nn.experts import ExpertsConfig, collecting
from peluche.nn.watching import Watched, watching_scores
from peluche.objectives.base import Losses, Metric, Term
from peluche.objectives.clipping import ScoreClip
from peluche.objectives.routing import RoutingTerms


class CausalConfig(Config):
    """Maximum likelihood of the next token (Bengio et al. 2003, §2).

    Attributes:
        ahead: so many tokens after the next are to be said too, each by a head of its own that only
            training has (Gloeckle et al. 2024, §2).
        ahead_weight: of their losses, each beside a weight of 1 for the next token.
    """

    kind: Literal["causal"] = "causal"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    ahead: int = Field(0, ge=0)
    ahead_weight: float = Field(1.0, gt=0)
    qk_clip: float | None = Field(
        None, gt=0, description="largest attention score that a head may keep, such as 100"
    )

    def build(self, experts: ExpertsConfig | None = None) -> CausalObjective:
        """For a model with these experts, if it has any."""
        return CausalObjective(self, None if experts is None else RoutingTerms(experts))


class PrefixConfig(CausalConfig):
    """The same for the end of a row, whose beginning is read in both directions.

    Prefix language modelling (Raffel et al. 2020, §3.2.1): every row is cut at a place by chance.
    """

    kind: Literal["prefix"] = "prefix"  # type: ignore[assignment]


class InfillingObjectiveConfig(CausalConfig):
    """The same for texts of which a share has its middle at the end, see `Infilling`."""

    kind: Literal["fill_in_the_middle"] = "fill_in_the_middle"  # type: ignore[assignment]
    infilling: InfillingConfig = InfillingConfig()


class CausalObjective:
    """Every token, [EOS] included, given those before it.

    Term `loss` is (label-smoothed) cross-entropy in nats per token; metric `nll` the same without
    smoothing, whose exponential is the perplexity. Terms `ahead2`, `ahead3`, … are that of
    the token so many places on. For a mixture of experts, see `RoutingTerms`.
    """

    def __init__(self, config: CausalConfig, routing: RoutingTerms | None = None) -> None:
        self.config, self.routing = config, routing
        self.clip = None if config.qk_clip is None else ScoreClip(config.qk_clip)

    exchanges = True  # what routers did is added up over processes

    @property
    def whole_step(self) -> bool:
        """See `Objective`."""
        return self.routing is not None and self.routing.whole_step

    @property
    def whole_weights(self) -> bool:
        """See `Objective`."""
        return self.clip is not None

    def counts(self, batch: LanguageBatch) -> dict[str, float]:
        counts = {"loss": float(batch.target_tokens)}
        for name, valid, _ in self._further(batch):
            counts[name] = _count(valid)
        return (
            counts if self.routing is None else counts | self.routing.counts(batch.tokens.numel())
        )

    def __call__(self, model: LanguageModel, batch: LanguageBatch) -> Losses:
        watching: AbstractContextManager[list[tuple[Watched, Tensor]]] = (
            nullcontext([]) if self.clip is None else watching_scores()
        )
        with collecting() as routings, watching as scores:
            further = {} if batch.prefix is None else {"prefix": batch.prefix}
            hidden = model.hidden(batch.tokens, document_ids=batch.document_ids, **further)
        labels = batch.labels[batch.valid]
        loss, nll = model.token_loss(hidden[batch.valid], labels, self.config.label_smoothing)
        count = float(len(labels))
        terms = {"loss": Term(loss, count)}
        if self.config.ahead:
            assert isinstance(model, Decoder), "other families have no heads for that"
            said = model.hidden_ahead(hidden, document_ids=batch.document_ids, **further)
            for one, (name, valid, labels) in zip(said, self._further(batch), strict=True):
                rows = one[valid], labels[valid]
                loss, _ = model.token_loss(*rows, self.config.label_smoothing)
                terms[name] = Term(loss, _count(valid), self.config.ahead_weight)
        losses = Losses(terms, {"nll": Metric(float(nll), count)})
        if self.clip is not None:
            losses = self.clip.added(losses, scores)
        return losses if self.routing is None else self.routing.added(losses, routings)

    def _further(self, batch: LanguageBatch) -> Iterator[tuple[str, Tensor, Tensor]]:
        """For each head its term, and where (B, T) what (B, T) is to be said."""
        for places in range(2, self.config.ahead + 2):
            yield f"ahead{places}", *further_labels(batch, places)

    def begin(self) -> None:
        """See `SteppedObjective`."""
        for part in (self.routing, self.clip):
            if part is not None:
                part.begin()

    def stepped(self, model: nn.Module) -> None:
        """See `Objective`."""
        if self.routing is not None:
            self.routing.stepped(model)
        if self.clip is not None:
            self.clip.stepped()


def _count(valid: Tensor) -> float:
    """Never 0, which a step of short documents would be divided by."""
    return max(float(valid.sum()), 1e-9)


def further_labels(
    batch: LanguageBatch, places: int
) -> tuple[Bool[Tensor, "batch length"], Int[Tensor, "batch length"]]:
    """Where a token so many places on is to be said, and which it is.

    Nowhere outside of the row, of the document, or of what is to be said at all.
    """
    shift = places - 1
    labels = batch.labels.roll(-shift, 1)
    same = batch.document_ids == batch.document_ids.roll(-shift, 1)
    valid = batch.valid & batch.valid.roll(-shift, 1) & same
    valid[:, max(0, valid.shape[1] - shift) :] = False
    return valid, labels
