"""Where a token stands: added to embeddings, or added to scores; turned heads are next door."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from peluche.errors import DataError
from peluche.nn.rotary import RopeConfig, Rotary, angles

PositionKind = Literal["sinusoidal", "learned", "rope", "alibi", "relative", "none"]


class Sinusoidal(nn.Module):
    """Fixed sines and cosines (Vaswani et al. 2017, §3.5).

    Sines fill the first half of the features and cosines the second, as tensor2tensor and Marian
    lay them out; the paper interleaves them, which is the same up to the order of features.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.register_buffer("table", torch.empty(0, d_model), persistent=False)
        self.table: Tensor

    def forward(self, positions: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape d_model"]:
        need = int(positions.max()) + 1 if positions.numel() else 0
        if need > len(self.table):
            size = max(64, 2 ** math.ceil(math.log2(need)))
            places = torch.arange(size, device=self.table.device)
            turned = angles(places, self.table.shape[1])
            table = torch.cat([turned.sin(), turned.cos()], dim=-1)
            self.table = table.to(self.table.dtype)
        return self.table[positions]


class Learned(nn.Module):
    """One learned vector for each of `max_length` positions (Gehring et al. 2017)."""

    def __init__(self, d_model: int, max_length: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(max_length, d_model).normal_(std=0.02))

    def forward(self, positions: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape d_model"]:
        if torch.compiler.is_exporting():  # a graph cannot look at values
            return self.weight[positions]
        need = int(positions.max()) + 1 if positions.numel() else 0
        if need > len(self.weight):
            raise DataError(
                f"a sequence of {need} tokens is longer than the model's learned positions",
                where=f"model.max_length is {len(self.weight)}",
                remedy="shorten the sequence, or train with a larger model.max_length or with "
                "sinusoidal, rope, alibi or relative positions",
            )
        return self.weight[positions]


class ALiBi(nn.Module):
    """Attention with linear biases: −slope · distance (Press et al. 2022, §3).

    Slopes are the geometric sequence 2^(−8h/H); for H not a power of two the paper's rule takes
    those of the next lower power and every other one of the next higher.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.register_buffer("slopes", torch.tensor(alibi_slopes(heads)), persistent=False)
        self.slopes: Tensor

    def forward(
        self, query: Int[Tensor, "query"], key: Int[Tensor, "key"]
    ) -> Float[Tensor, "1 heads query key"]:
        distance = (query[:, None] - key).abs()
        return (-self.slopes[:, None, None] * distance)[None]


def alibi_slopes(heads: int) -> list[float]:
    """The slope of each head."""
    lower = 2 ** math.floor(math.log2(heads))
    slopes = [2.0 ** (-8.0 * (head + 1) / lower) for head in range(lower)]
    if lower < heads:
        slopes += alibi_slopes(2 * lower)[0::2][: heads - lower]
    return slopes


class RelativeBias(nn.Module):
    """T5's learned bias per head and bucket of relative position (Raffel et al. 2020, §2.1).

    Half of the buckets count single steps, the other half grow logarithmically up to
    `max_distance`; with `bidirectional`, past and future have half of the buckets each.
    """

    def __init__(
        self, heads: int, *, bidirectional: bool, buckets: int = 32, max_distance: int = 128
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(buckets, heads))
        self.bidirectional, self.buckets, self.max_distance = bidirectional, buckets, max_distance

    def forward(
        self, query: Int[Tensor, "query"], key: Int[Tensor, "key"]
    ) -> Float[Tensor, "1 heads query key"]:
        return self.weight[self.bucket(key - query[:, None])].permute(2, 0, 1)[None]

    def bucket(self, relative: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        """The bucket of key position minus query position."""
        buckets, offset = self.buckets, torch.zeros_like(relative)
        if self.bidirectional:
            buckets //= 2
            offset = (relative > 0) * buckets
            distance = relative.abs()
        else:
            distance = (-relative).clamp(min=0)
        exact = buckets // 2
        ratio = torch.log(distance.clamp(min=1).float() / exact) / math.log(
            self.max_distance / exact
        )
        far = (exact + (ratio * (buckets - exact)).long()).clamp(max=buckets - 1)
        return offset + torch.where(distance < exact, distance, far)


class Positions(NamedTuple):
    """Where a kind of positions enters a stack; at most one of these is not None.

    Attributes:
        added: gives vectors for token positions, added to embeddings.
        turning: turns queries and keys.
        bias: gives biases for (query, key) positions, added to scores.
    """

    added: nn.Module | None = None
    turning: Rotary | None = None
    bias: nn.Module | None = None


def build_positions(
    kind: PositionKind,
    d_model: int,
    heads: int,
    *,
    max_length: int,
    bidirectional: bool,
    rope: RopeConfig = RopeConfig(),
) -> Positions:
    """The parts for a kind of positions."""
    match kind:
        case "sinusoidal":
            return Positions(added=Sinusoidal(d_model))
        case "learned":
            return Positions(added=Learned(d_model, max_length))
        case "rope":
            return Positions(turning=rope.build())
        case "alibi":
            return Positions(bias=ALiBi(heads))
        case "relative":
            return Positions(bias=RelativeBias(heads, bidirectional=bidirectional))
        case "none":
            return Positions()


def check_positions(kind: PositionKind, d_model: int, heads: int, head_width: int) -> None:
    """Raise ValueError, with the nearest width that fits, if positions cannot be laid out."""
    near = max(1, round(d_model / (2 * heads))) * 2 * heads
    if kind == "rope" and head_width % 2:
        given = head_width * heads != d_model
        remedy = f"head_width {head_width + 1}" if given else f"d_model {near}"
        raise ValueError(
            f"rope turns pairs of features, but a head has {head_width}; "
            f"nearest that fits: {remedy}"
        )
    if kind == "sinusoidal" and d_model % 2:
        raise ValueError(
            f"sinusoidal positions need an even d_model, not {d_model}; "
            f"nearest that fits: d_model {near}"
        )
