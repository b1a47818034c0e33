"""Contrast: of all texts of a step, which one belongs to which."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from peluche.config import Config
from peluche.data.contrastive import ContrastiveBatch
from peluche.models.text_embedder import TextEmbedder
from peluche.objectives.base import Losses, Metric, Term
from peluche.objectives.gathering import gathered
from peluche.processes import ALONE, Processes


class ContrastiveConfig(Config):
    """InfoNCE (van den Oord et al. 2018, eq. 4) with the other pairs of the step as negatives.

    Also known as multiple negatives ranking (Henderson et al. 2017, §4.4).

    Attributes:
        temperature: cosines are divided by it.
        symmetric: also ask which source belongs to a target, and take the mean of both (Radford et
            al. 2021, fig. 3).
    """

    kind: Literal["contrastive"] = "contrastive"
    temperature: float = Field(0.05, gt=0)
    symmetric: bool = True

    def build(self, processes: Processes = ALONE) -> ContrastiveObjective:
        """Over the texts of these processes."""
        return ContrastiveObjective(self, processes)


class ContrastiveObjective:
    """Term `loss` in nats per pair; metric `accuracy`: whose own target is the nearest one.

    A target that is the same text as a source's own is no negative of it. What is contrasted
    with is the whole optimizer step, so it does not depend on how the step is read, nor on how
    many processes read it: each asks for the pairs of its own among those of all.
    """

    whole_step = exchanges = True

    def __init__(self, config: ContrastiveConfig, processes: Processes = ALONE) -> None:
        self.config, self.processes = config, processes

    def counts(self, batch: ContrastiveBatch) -> dict[str, float]:
        return {"loss": float(len(batch.source))}

    def __call__(self, model: TextEmbedder, batch: ContrastiveBatch) -> Losses:
        source, target = (
            F.normalize(model.hidden(tokens, valid).float(), dim=-1)
            for tokens, valid in (
                (batch.source, batch.source_valid),
                (batch.target, batch.target_valid),
            )
        )
        batches = self._of_all(batch)
        sizes = [len(one.source) for one in batches]
        sources, targets = (gathered(side, sizes, self.processes) for side in (source, target))
        before = sum(sizes[: self.processes.rank // self.processes.team])
        own = torch.arange(before, before + len(source), device=source.device)
        whole = ContrastiveBatch.join(batches).to(source.device)
        forward = self._scores(source, targets, _repeated(whole.target)[own])
        loss = F.cross_entropy(forward, own, reduction="sum")
        if self.config.symmetric:
            backward = self._scores(target, sources, _repeated(whole.source)[own])
            loss = (loss + F.cross_entropy(backward, own, reduction="sum")) / 2
        count = float(len(source))
        right = 100 * float((forward.argmax(-1) == own).sum())
        return Losses({"loss": Term(loss, count)}, {"accuracy": Metric(right, count)})

    def _of_all(self, batch: ContrastiveBatch) -> list[ContrastiveBatch]:
        """What each team of processes reads in this step."""
        if self.processes.count == 1:
            return [batch]
        return self.processes.everyone(batch.to(torch.device("cpu")))[:: self.processes.team]

    def _scores(
        self,
        some: Float[Tensor, "rows width"],
        others: Float[Tensor, "all_rows width"],
        repeated: Bool[Tensor, "rows all_rows"],
    ) -> Float[Tensor, "rows all_rows"]:
        return (some @ others.T / self.config.temperature).masked_fill(repeated, -torch.inf)


def _repeated(texts: Int[Tensor, "rows length"]) -> Bool[Tensor, "rows rows"]:
    """Which other rows are the same text."""
    same = (texts[:, None] == texts).all(-1)
    return same.fill_diagonal_(False)
