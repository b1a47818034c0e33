"""Logits of n-grams, beside those of an encoder: what naive Bayes knows, and what is learnt of it.

Wide and deep (Cheng et al. 2016): a linear model remembers which words and word pairs go with which
label, a network generalises over them. The linear model starts as naive Bayes and is trained in its
terms, as NB-SVM is (Wang & Manning 2012).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, field_validator
from torch import Tensor, nn

from peluche.config import Config
from peluche.data.classification import ClassificationBatch

NOTHING = 0  # the bucket of padding, and of n-grams that occurred before in their text
# Odd factors that spread numbers over 64 bits (Steele & Vigna 2021, table 5).
MIX, SEGMENT = 0x2545F4914F6CDD1D, 0x369DEA0F31A53F85


class WideConfig(Config):
    """N-grams of tokens, hashed into buckets."""

    orders: tuple[int, ...] = Field((1, 2), description="lengths of n-grams, in tokens")
    buckets: int = Field(65536, gt=1, description="n-grams share a bucket if there are too few")
    dropout: float = Field(0.3, ge=0, lt=1, description="of whole n-grams")
    absent: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of training texts without n-grams, so that the encoder learns by itself",
    )
    prior: float = Field(0.3, description="weight of naive Bayes at the start")
    folds: int = Field(
        1,
        gt=0,
        description="in training, a text's n-grams count as in the other parts of so many, and so "
        "are no surer of it than of new texts; 1: as in all texts",
    )

    @field_validator("orders")
    @classmethod
    def _some_order(cls, orders: tuple[int, ...]) -> tuple[int, ...]:
        if not orders or min(orders) < 1:
            raise ValueError("orders are one or more numbers of tokens, such as [1, 2]")
        return orders

    def build(self, labels: int) -> Wide:
        return Wide(self, labels)


class Wide(nn.Module):
    """The sum over a text's n-grams of r · (prior + w), by the square root of their number.

    r is the logarithm of how much likelier the n-gram is under a label than under the others
    (Wang & Manning 2012, eq. 2), counted once by `count`; w and the prior's weight are trained.
    With folds, a training text is read with the r of the other folds' texts, as when models are
    stacked (Wolpert 1992), once they are counted: of a model that is only loaded, with r.
    """

    ratios: Tensor
    of_others: Tensor

    def __init__(self, config: WideConfig, labels: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("ratios", torch.zeros(config.buckets, labels))
        # As large as the weights for each fold, and only for training: `count` makes them.
        self.register_buffer("of_others", torch.zeros(0, config.buckets, labels), persistent=False)
        self.weights = nn.Embedding(config.buckets, labels)
        nn.init.zeros_(self.weights.weight)
        self.prior = nn.Parameter(torch.tensor(config.prior))

    def forward(
        self,
        tokens: Int[Tensor, "batch length"],
        valid: Bool[Tensor, "batch length"],
        segments: Int[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "batch labels"]:
        """Logits; the same n-gram in the second text of a pair is another one."""
        found = self._buckets(tokens, valid, segments)
        present = found != NOTHING
        scale = present.sum(1, keepdim=True).clamp(min=1).rsqrt()
        if self.training and self.config.dropout:
            kept = torch.rand(found.shape, device=found.device) >= self.config.dropout
            present, scale = present & kept, scale / (1 - self.config.dropout)
        if self.training and self.config.absent:
            here = torch.rand(len(found), 1, device=found.device) >= self.config.absent
            present = present & here
        ratios = self.ratios[found]
        if self.training and len(self.of_others):
            ratios = self.of_others[self._fold(found), found]
        worth = ratios * (self.prior + self.weights(found))
        return (present[:, None].to(worth.dtype) @ worth)[:, 0] * scale

    @torch.no_grad()
    def count(self, batches: Iterable[ClassificationBatch]) -> None:
        """Set r from labelled texts."""
        counts = torch.zeros(self.config.folds, *self.ratios.shape)
        for batch in batches:
            found = self._buckets(batch.tokens, batch.valid, batch.segments)
            rows = self._fold(found) * counts.shape[1] + found
            cells = (rows * counts.shape[2] + batch.labels[:, None]).flatten()
            counts.view(-1).index_add_(0, cells, torch.ones(len(cells)))
        counts[:, NOTHING] = 0
        total = counts.sum(0)
        self.ratios.copy_(log_ratios(total))
        if self.config.folds > 1:
            for own in counts:
                own.copy_(log_ratios(total - own))
            self.of_others = counts.to(self.ratios.device)

    def _fold(self, found: Int[Tensor, "batch ngrams"]) -> Int[Tensor, "batch 1"]:
        """Which part of the training texts each is of: equal texts are of one."""
        return found.sum(1, keepdim=True) % self.config.folds

    def _buckets(self, tokens: Tensor, valid: Tensor, segments: Tensor | None) -> Tensor:
        """(batch, n-grams): the bucket of each n-gram at its first occurrence, else NOTHING."""
        marked = tokens if segments is None else tokens + segments * SEGMENT
        found = []
        for order in self.config.orders:
            length = tokens.shape[1] - order + 1
            if length < 1:
                continue
            mixed = torch.full_like(marked[:, :length], order)
            for place in range(order):
                # Sums and products wrap around; the high bits are the well-mixed ones.
                mixed = (mixed + marked[:, place : place + length] + 1) * MIX
            bucket = (mixed >> 32) % (self.config.buckets - 1) + 1
            found.append(bucket.masked_fill(~valid[:, order - 1 :], NOTHING))
        if not found:
            return torch.full_like(tokens, NOTHING)
        together = torch.cat(found, 1).sort(1).values
        again = torch.zeros_like(together, dtype=torch.bool)
        again[:, 1:] = together[:, 1:] == together[:, :-1]
        return together.masked_fill(again, NOTHING)


def log_ratios(counts: Float[Tensor, "buckets labels"]) -> Float[Tensor, "buckets labels"]:
    """How much likelier each n-gram is under a label than under the others; 0 for unseen ones."""
    inside = 1 + counts
    outside = 1 + counts.sum(1, keepdim=True) - counts
    ratios = (inside / inside.sum(0)).log() - (outside / outside.sum(0)).log()
    return ratios.masked_fill(counts.sum(1, keepdim=True) == 0, 0.0)
