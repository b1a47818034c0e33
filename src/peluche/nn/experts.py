"""Mixtures of experts: many feed-forward layers, of which a router picks a few for each token."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from peluche.config import Config
from peluche.nn.feedforward import ACTIVATIONS, GATED, ActivationKind
from peluche.nn.trace import record


class ExpertsConfig(Config):
    """A sparse mixture (Shazeer et al. 2017, §2): router, top-k, softmax over the chosen, sum.

    Attributes:
        count: experts in each layer.
        active: experts that each token is given to.
        d_ff: width of an expert; the model's d_ff unless given.
        shared: width of a feed-forward layer that every token goes through as well (Dai et al.
            2024, DeepSeekMoE, §3.2); 0 for none.
        score: what experts are chosen by and weighted with: `softmax`, or `sigmoid` brought to a
            sum of one (DeepSeek-V3, eq. 13 to 15).
        capacity: an expert takes at most this times its even share of a batch's tokens; of those
            beyond, which come last, nothing is added (Fedus et al. 2022, §2.2). None: all it is
            given.
        balance: "loss" adds a term to the objective (see `balance_loss`), "bias" adds to the
            scores, for the choice alone, what evens out the load (Wang et al. 2024, "Auxiliary-
            Loss-Free Load Balancing", alg. 1).
    """

    count: int = Field(8, gt=1)
    active: int = Field(2, gt=0)
    d_ff: int | None = Field(None, gt=0)
    shared: int = Field(0, ge=0)
    score: Literal["softmax", "sigmoid"] = "softmax"
    capacity: float | None = Field(None, gt=0)
    balance: Literal["loss", "bias", "none"] = "loss"
    balance_weight: float = Field(0.01, ge=0, description="of the balancing term")
    z_weight: float = Field(0.001, ge=0, description="of the router's z-loss")
    bias_rate: float = Field(0.001, ge=0, description="how much balance 'bias' moves a step")

    @model_validator(mode="after")
    def _active_fits(self) -> ExpertsConfig:
        if self.active > self.count:
            raise ValueError(
                f"active {self.active} is more than there are experts; "
                f"nearest that fits: active {self.count}"
            )
        return self


class Routing(NamedTuple):
    """What a router did with the tokens of one forward pass.

    Attributes:
        logits: (T, experts).
        chosen: (T, active) numbers of experts, the best first.
        weights: (T, active), which sum to one.
    """

    logits: Float[Tensor, "tokens experts"]
    chosen: Int[Tensor, "tokens active"]
    weights: Float[Tensor, "tokens active"]

    def load(self) -> Float[Tensor, "experts"]:
        """The share of all choices that fell on each expert."""
        counts = torch.bincount(self.chosen.flatten(), minlength=self.logits.shape[1])
        return counts / self.chosen.numel()

    def balance_loss(self, load: Float[Tensor, "experts"] | None = None) -> Float[Tensor, ""]:
        """E · Σ load · mean probability, 1 when even (Fedus et al. 2022, eq. 4).

        Args:
            load: of all tokens that count, if these are not all; theirs unless given.
        """
        probability = self.logits.softmax(-1).mean(0)
        load = self.load() if load is None else load
        return len(probability) * (load.to(probability.dtype) * probability).sum()

    def z_loss(self) -> Float[Tensor, ""]:
        """Σ over tokens of (log Σ exp logits)² (Zoph et al. 2022, eq. 5)."""
        return self.logits.logsumexp(-1).square().sum()


_collecting: list[Routing] | None = None


@contextmanager
def collecting() -> Iterator[list[Routing]]:
    """Keep what every router does in this block, in the order of layers."""
    global _collecting
    before, _collecting = _collecting, []
    try:
        yield _collecting
    finally:
        _collecting = before


class Experts(nn.Module):
    """A feed-forward layer of many, each token through a few. Matrices of experts are stacked.

    Tokens are put in order of their experts, so that each matrix of all experts is one grouped
    product.
    """

    def __init__(
        self,
        config: ExpertsConfig,
        d_model: int,
        d_ff: int,
        kind: ActivationKind,
        shared: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        count, d_ff = config.count, config.d_ff or d_ff
        self.router = nn.Linear(d_model, count, bias=False)
        self.gate = nn.Parameter(torch.empty(count, d_ff, d_model)) if kind in GATED else None
        self.up = nn.Parameter(torch.empty(count, d_ff, d_model))
        self.down = nn.Parameter(torch.empty(count, d_model, d_ff))
        self.activation = ACTIVATIONS[kind]
        self.shared = shared
        # What evens out the load; changed by no gradient.
        self.register_buffer("preference", torch.zeros(count))
        self.preference: Tensor
        for matrices in (self.gate, self.up, self.down):
            if matrices is not None:
                bound = math.sqrt(6 / (matrices.shape[1] + matrices.shape[2]))
                nn.init.uniform_(matrices, -bound, bound)

    def route(self, rows: Float[Tensor, "tokens d_model"]) -> Routing:
        """Which experts each token is given to."""
        # In float32: few bits of a router decide which experts are chosen.
        logits = F.linear(rows.float(), self.router.weight.float())
        sigmoid = self.config.score == "sigmoid"
        scores = logits.sigmoid() if sigmoid else logits.softmax(-1)
        chosen = (scores + self.preference).topk(self.config.active).indices
        weights = scores.gather(1, chosen)
        return Routing(logits, chosen, weights / weights.sum(-1, keepdim=True))

    def forward(self, hidden: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        rows = hidden.flatten(0, -2)
        routing = self.route(rows)
        record("router", routing.logits)
        if _collecting is not None:
            _collecting.append(routing)
        # Choices in order of experts; within one, in order of tokens.
        order = routing.chosen.flatten().sort(stable=True).indices
        counts = torch.bincount(routing.chosen.flatten(), minlength=self.config.count)
        if self.config.capacity is not None:
            order, counts = self._within_capacity(order, counts, len(rows))
        token = order // self.config.active
        weight = routing.weights.flatten()[order, None].to(rows.dtype)
        said = self._experts(rows[token], counts.cumsum(0).int()) * weight
        mixed = torch.zeros_like(rows).index_add(0, token, said)
        if self.shared is not None:
            mixed = mixed + self.shared(rows)
        return mixed.unflatten(0, hidden.shape[:-1])

    def _experts(
        self, rows: Float[Tensor, "chosen d_model"], ends: Int[Tensor, "experts"]
    ) -> Float[Tensor, "chosen d_model"]:
        up = F.grouped_mm(rows, self.up.transpose(1, 2), offs=ends)
        if self.gate is None:
            inside = self.activation(up)
        else:
            inside = self.activation(F.grouped_mm(rows, self.gate.transpose(1, 2), offs=ends)) * up
        return F.grouped_mm(inside, self.down.transpose(1, 2), offs=ends)

    def _within_capacity(self, order: Tensor, counts: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
        assert self.config.capacity is not None
        share = tokens * self.config.active / self.config.count
        most = math.ceil(self.config.capacity * share)
        place = torch.arange(len(order), device=order.device)
        place = place - (counts.cumsum(0) - counts).repeat_interleave(counts)
        return order[place < most], counts.clamp(max=most)

    @torch.no_grad()
    def even_out(self, load: Float[Tensor, "experts"]) -> None:
        """Make experts with more than an even share of the load less likely to be chosen."""
        self.preference += self.config.bias_rate * (load.mean() - load).sign()
