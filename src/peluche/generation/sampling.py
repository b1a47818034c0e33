"""Sampling: parameters are a record per request, applied to all rows of a batch at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from peluche.config import Config


class SamplingParameters(Config):
    """How one request draws its tokens; the defaults draw from the model's own distribution."""

    temperature: float = Field(1.0, gt=0, description="below 1 sharpens, above 1 flattens")
    top_k: int | None = Field(None, gt=0, description="only the k likeliest tokens")
    top_p: float = Field(
        1.0, gt=0, le=1, description="only the likeliest tokens that hold this probability"
    )
    min_p: float = Field(
        0.0, ge=0, le=1, description="only tokens with this share of the best one's probability"
    )
    seed: int = Field(0, ge=0, description="equal seeds draw equal tokens")


class RowParameters(NamedTuple):
    """Sampling parameters as columns, one row per hypothesis.

    Attributes:
        temperature, top_p, log_min_p: (rows, 1) float.
        top_k: (rows, 1) int; the vocabulary's size where every token may be drawn.
    """

    temperature: Float[Tensor, "rows 1"]
    top_k: Int[Tensor, "rows 1"]
    top_p: Float[Tensor, "rows 1"]
    log_min_p: Float[Tensor, "rows 1"]

    @classmethod
    def of(cls, records: Sequence[SamplingParameters], vocabulary: int) -> RowParameters:
        """Stack the records of a batch."""

        def column(values: list[float]) -> Tensor:
            return torch.tensor(values)[:, None]

        top_k = [min(r.top_k or vocabulary, vocabulary) for r in records]
        return cls(
            column([r.temperature for r in records]),
            torch.tensor(top_k)[:, None],
            column([r.top_p for r in records]),
            column([r.min_p for r in records]).log(),
        )

    def rows(self, index: Int[Tensor, "kept"]) -> RowParameters:
        """The parameters of these rows."""
        return RowParameters(*(column[index] for column in self))


Processor = Callable[[Tensor, RowParameters], Tensor]


def apply_temperature(
    logits: Float[Tensor, "rows vocabulary"], parameters: RowParameters
) -> Float[Tensor, "rows vocabulary"]:
    """Divide by the temperature (Ackley et al. 1985)."""
    return logits / parameters.temperature


def keep_top_k(
    logits: Float[Tensor, "rows vocabulary"], parameters: RowParameters
) -> Float[Tensor, "rows vocabulary"]:
    """Rule out all but the k best tokens (Fan et al. 2018, §5.1); ties with the k-th stay."""
    largest = int(parameters.top_k.max())
    unlimited = parameters.top_k == logits.shape[-1]
    if bool(unlimited.any()):
        if bool(unlimited.all()):
            return logits
        largest = int(parameters.top_k.masked_fill(unlimited, 1).max())
    best = logits.topk(largest).values
    worst = best.gather(-1, (parameters.top_k - 1).clamp(max=largest - 1))
    return logits.masked_fill((logits < worst) & ~unlimited, -torch.inf)


def keep_top_p(
    logits: Float[Tensor, "rows vocabulary"], parameters: RowParameters
) -> Float[Tensor, "rows vocabulary"]:
    """Rule out all but the smallest set of best tokens with probability p (Holtzman et al. 2020).

    The token that crosses p stays, and so do its ties.
    """
    if bool((parameters.top_p == 1).all()):
        return logits
    ordered = logits.sort(descending=True).values
    probabilities = ordered.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    kept = ((before < parameters.top_p).sum(-1, keepdim=True) - 1).clamp(min=0)
    outside = (logits < ordered.gather(-1, kept)) & (parameters.top_p < 1)
    return logits.masked_fill(outside, -torch.inf)


def keep_min_p(
    logits: Float[Tensor, "rows vocabulary"], parameters: RowParameters
) -> Float[Tensor, "rows vocabulary"]:
    """Rule out tokens under a share of the best probability (Nguyen et al. 2024, §3)."""
    if bool((parameters.log_min_p == -torch.inf).all()):
        return logits
    floor = logits.amax(-1, keepdim=True) + parameters.log_min_p
    return logits.masked_fill(logits < floor, -torch.inf)


PROCESSORS: tuple[Processor, ...] = (apply_temperature, keep_top_k, keep_top_p, keep_min_p)


def process(
    logits: Float[Tensor, "rows vocabulary"], parameters: RowParameters
) -> Float[Tensor, "rows vocabulary"]:
    """Temperature, then top-k, top-p and min-p, each on what the one before left."""
    for processor in PROCESSORS:
        logits = processor(logits, parameters)
    return logits


def uniforms(seed: int, stream: int, draws: int, steps: int) -> Float[Tensor, "draws steps"]:
    """Numbers in [0, 1) of one request; more steps only add to them."""
    random = np.random.default_rng([seed, stream])
    return torch.from_numpy(random.random((steps, draws), dtype=np.float32).T)


def draw(
    logits: Float[Tensor, "rows vocabulary"], uniform: Float[Tensor, "rows"]
) -> Int[Tensor, "rows"]:
    """Draw a token of softmax(logits) by inverting its distribution function at `uniform`."""
    totals = logits.softmax(-1).cumsum(-1)
    # uniform < 1, so the product stays under the last total, and the first total above it
    # belongs to a token of non-zero probability.
    at = uniform[:, None] * totals[:, -1:]
    return torch.searchsorted(totals, at, right=True)[:, 0]
