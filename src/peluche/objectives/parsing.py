"""Parsing: how likely the true heads, relations, constituents and tags are."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch.nn import functional as F

from peluche.config import Config
from peluche.data.annotation import SentenceBatch
from peluche.models.dependency_parser import DependencyParser
from peluche.models.span_parser import SpanParser
from peluche.objectives.base import Losses, Metric, Term


class DependencyConfig(Config):
    """Cross-entropy of each word's head, relation and tag."""

    kind: Literal["dependency"] = "dependency"
    tags: float = Field(0.5, ge=0, description="weight of the tags")

    def build(self) -> DependencyObjective:
        return DependencyObjective(self)


class DependencyObjective:
    """Terms `heads`, `relations` (of the true heads; Dozat & Manning 2017, §2.2) and `tags`.

    All in nats per token. Metric `head_accuracy` is of the likeliest heads, be they a tree or not.
    """

    def __init__(self, config: DependencyConfig) -> None:
        self.config = config

    def counts(self, batch: SentenceBatch) -> dict[str, float]:
        return dict.fromkeys(("heads", "relations", "tags"), float(batch.target_tokens))

    def __call__(self, model: DependencyParser, batch: SentenceBatch) -> Losses:
        assert batch.heads is not None, "the batch has trees"
        assert batch.relations is not None, "the batch has trees"
        assert batch.tags is not None, "the batch has tags"
        read = model.read(batch)
        arcs, heads = read.arcs[batch.valid].float(), batch.heads[batch.valid]
        relations = model.relations(read, batch, batch.heads).float()
        losses = {
            "heads": F.cross_entropy(arcs, heads, reduction="sum"),
            "relations": F.cross_entropy(relations, batch.relations[batch.valid], reduction="sum"),
            "tags": F.cross_entropy(
                read.tags[batch.valid].float(), batch.tags[batch.valid], reduction="sum"
            ),
        }
        count = float(len(heads))
        with torch.no_grad():
            right = 100 * float((arcs.argmax(-1) == heads).sum())
        weights = {"tags": self.config.tags}
        terms = {name: Term(loss, count, weights.get(name, 1.0)) for name, loss in losses.items()}
        return Losses(terms, {"head_accuracy": Metric(right, count)})


class ConstituencyConfig(Config):
    """Cross-entropy of each span's name, if it has one, and of each word's tag."""

    kind: Literal["constituency"] = "constituency"
    tags: float = Field(0.5, ge=0, description="weight of the tags")

    def build(self) -> ConstituencyObjective:
        return ConstituencyObjective(self)


class ConstituencyObjective:
    """Terms `spans` (over all spans of a sentence) and `tags`, in nats per token."""

    def __init__(self, config: ConstituencyConfig) -> None:
        self.config = config

    def counts(self, batch: SentenceBatch) -> dict[str, float]:
        return dict.fromkeys(("spans", "tags"), float(batch.target_tokens))

    def __call__(self, model: SpanParser, batch: SentenceBatch) -> Losses:
        assert batch.spans is not None, "the batch has trees"
        assert batch.tags is not None, "the batch has tags"
        scores = model(batch)
        both = batch.valid[:, :, None] & batch.valid[:, None, :]
        forward = torch.ones_like(both[0]).triu()
        real = both & forward
        spans = F.cross_entropy(scores.spans[real].float(), batch.spans[real], reduction="sum")
        tags = F.cross_entropy(
            scores.tags[batch.valid].float(), batch.tags[batch.valid], reduction="sum"
        )
        count = float(batch.target_tokens)
        return Losses({"spans": Term(spans, count), "tags": Term(tags, count, self.config.tags)})
