"""Where a token stands: added to embeddings, turned into heads, or added to scores."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from peluche.errors import DataError

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
            angles = _angles(places, self.table.shape[1], base=10000.0)
            table = torch.cat([angles.sin(), angles.cos()], dim=-1)
            self.table = table.to(self.table.dtype)
        return self.table[positions]


def _angles(
    positions: Int[Tensor, "*shape"], width: int, base: float
) -> Float[Tensor, "*shape {width//2}"]:
    """position · base^(−2i/width), in float64 whatever the model's type.

    Frequencies are not kept in a buffer, which `model.to(dtype)` would round.
    """
    halves = torch.arange(0, width, 2, dtype=torch.float64, device=positions.device)
    return positions[..., None] * base ** (-halves / width)


class Learned(nn.Module):
    """One learned vector for each of `max_length` positions (Gehring et al. 2017)."""

    def __init__(self, d_model: int, max_length: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(max_length, d_model).normal_(std=0.02))

    def forward(self, positions: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape d_model"]:
        need = int(positions.max()) + 1 if positions.numel() else 0
        if need > len(self.weight):
            raise DataError(
                f"a sequence of {need} tokens is longer than the model's learned positions",
                where=f"model.max_length is {len(self.weight)}",
                remedy="shorten the sequence, or train with a larger model.max_length or with "
                "sinusoidal, rope, alibi or relative positions",
            )
        return self.weight[positions]


class Rotary(nn.Module):
    """Rotary position embedding: pairs of features turn with position (Su et al. 2021, §3.2.2).

    Feature i is paired with i + width/2, as in Llama and `transformers`.
    """

    def __init__(self, base: float = 10000.0) -> None:
        super().__init__()
        self.base = base

    def angles(self, positions: Int[Tensor, "*places"], width: int) -> Float[Tensor, "..."]:
        """(*places, width / 2): how far each pair of a head's features is turned, in radians."""
        return _angles(positions, width, self.base)

    def forward(
        self,
        heads: Float[Tensor, "batch heads length width"],
        positions: Int[Tensor, "length"] | Int[Tensor, "batch length"],
    ) -> Float[Tensor, "batch heads length width"]:
        angles = self.angles(positions, heads.shape[-1])
        cos, sin = (t.to(heads.dtype) for t in (angles.cos(), angles.sin()))
        if positions.dim() == 2:
            cos, sin = cos[:, None], sin[:, None]
        first, second = heads.chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


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
    kind: PositionKind, d_model: int, heads: int, *, max_length: int, bidirectional: bool
) -> Positions:
    """The parts for a kind of positions."""
    match kind:
        case "sinusoidal":
            return Positions(added=Sinusoidal(d_model))
        case "learned":
            return Positions(added=Learned(d_model, max_length))
        case "rope":
            return Positions(turning=Rotary())
        case "alibi":
            return Positions(bias=ALiBi(heads))
        case "relative":
            return Positions(bias=RelativeBias(heads, bidirectional=bidirectional))
        case "none":
            return Positions()


def check_positions(kind: PositionKind, d_model: int, heads: int) -> None:
    """Raise ValueError, with the nearest width that fits, if positions cannot be laid out."""
    near = max(1, round(d_model / (2 * heads))) * 2 * heads
    if kind == "rope" and (d_model // heads) % 2:
        raise ValueError(
            f"rope turns pairs of features, but a head has {d_model // heads}; "
            f"nearest that fits: d_model {near}"
        )
    if kind == "sinusoidal" and d_model % 2:
        raise ValueError(
            f"sinusoidal positions need an even d_model, not {d_model}; "
            f"nearest that fits: d_model {near}"
        )
