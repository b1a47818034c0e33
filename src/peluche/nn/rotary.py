"""Rotary position embedding, and how it is stretched to texts longer than it was trained on."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from peluche.config import Config


class LinearScaling(Config):
    """Positions divided by a factor (Chen et al. 2023, arXiv 2306.15595, eq. 4)."""

    kind: Literal["linear"] = "linear"
    factor: float = Field(gt=1, description="how many times longer texts may be")

    def stretch(self, frequencies: Tensor, base: float) -> Tensor:
        """Frequencies (width / 2,) in radians per position, after scaling."""
        return frequencies / self.factor

    def magnitude(self) -> float:
        """What queries and keys are multiplied by."""
        return 1.0


class NTKScaling(Config):
    """A larger base: high frequencies stay, the lowest is divided by the factor.

    "NTK-aware" interpolation (Peng et al. 2024, arXiv 2309.00071, §3.1).
    """

    kind: Literal["ntk"] = "ntk"
    factor: float = Field(gt=1, description="how many times longer texts may be")

    def stretch(self, frequencies: Tensor, base: float) -> Tensor:
        places = torch.arange(len(frequencies), dtype=frequencies.dtype, device=frequencies.device)
        return frequencies * self.factor ** (-places / max(1, len(frequencies) - 1))

    def magnitude(self) -> float:
        return 1.0


class YaRNScaling(Config):
    """Slow frequencies are divided, fast ones stay, a ramp between them (Peng et al. 2024, §3.2).

    Attributes:
        original_length: tokens of the texts that the model was trained on.
        fast, slow: turns over that length, from which and up to which a frequency is that.
        attention: what queries and keys are multiplied by; if not given, 0.1·ln(factor) + 1
            (eq. 22).
    """

    kind: Literal["yarn"] = "yarn"
    factor: float = Field(gt=1, description="how many times longer texts may be")
    original_length: int = Field(gt=0)
    fast: float = Field(32.0, gt=0)
    slow: float = Field(1.0, gt=0)
    attention: float | None = Field(None, gt=0)

    def stretch(self, frequencies: Tensor, base: float) -> Tensor:
        half = len(frequencies)

        def place(turns: float) -> float:
            return half * math.log(self.original_length / (turns * 2 * math.pi)) / math.log(base)

        first = max(0, math.floor(place(self.fast)))
        last = min(2 * half - 1, math.ceil(place(self.slow)))
        places = torch.arange(half, dtype=frequencies.dtype, device=frequencies.device)
        slow = ((places - first) / max(last - first, 1e-3)).clamp(0, 1)
        return frequencies * (slow / self.factor + 1 - slow)

    def magnitude(self) -> float:
        return self.attention or 0.1 * math.log(self.factor) + 1


class Llama3Scaling(Config):
    """As YaRN, by wavelength and with another ramp (Llama 3.1, Grattafiori et al. 2024).

    Attributes:
        original_length: tokens of the texts that the model was trained on.
        low, high: turns over that length, up to which a frequency is divided, and from which it
            stays.
    """

    kind: Literal["llama3"] = "llama3"
    factor: float = Field(gt=1, description="what slow frequencies are divided by")
    original_length: int = Field(gt=0)
    low: float = Field(1.0, gt=0)
    high: float = Field(4.0, gt=0)

    def stretch(self, frequencies: Tensor, base: float) -> Tensor:
        turns = frequencies * self.original_length / (2 * math.pi)
        stay = ((turns - self.low) / (self.high - self.low)).clamp(0, 1)
        return frequencies * (stay + (1 - stay) / self.factor)

    def magnitude(self) -> float:
        return 1.0


Scaling = Annotated[
    LinearScaling | NTKScaling | YaRNScaling | Llama3Scaling, Field(discriminator="kind")
]


class RopeConfig(Config):
    """How fast heads turn.

    Attributes:
        base: of the geometric sequence of frequencies.
        scaling: for texts longer than those of training.
    """

    base: float = Field(10_000.0, gt=1)
    scaling: Scaling | None = None

    def build(self) -> Rotary:
        return Rotary(self)


class Rotary(nn.Module):
    """Pairs of features turn with position (Su et al. 2021, §3.2.2).

    Feature i is paired with i + width/2, as in Llama and `transformers`.
    """

    def __init__(self, config: RopeConfig = RopeConfig()) -> None:
        super().__init__()
        self.config = config
        self._last: tuple[Tensor, int, torch.dtype, tuple[Tensor, Tensor]] | None = None

    def angles(self, positions: Int[Tensor, "*places"], width: int) -> Float[Tensor, "..."]:
        """(*places, width / 2): how far each pair of a head's features is turned, in radians."""
        return angles(positions, width, self.config)

    def turns(
        self, positions: Int[Tensor, "*places"], width: int, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """Cosines and sines of `angles`; those of the last positions are kept for all layers."""
        last = self._last
        if last is not None and last[0] is positions and last[1:3] == (width, dtype):
            return last[3]
        angle = self.angles(positions, width)
        scaling = self.config.scaling
        magnitude = 1.0 if scaling is None else scaling.magnitude()
        pair = (angle.cos() * magnitude).to(dtype), (angle.sin() * magnitude).to(dtype)
        if not torch.compiler.is_compiling():
            self._last = (positions, width, dtype, pair)
        return pair

    def forward(
        self,
        heads: Float[Tensor, "batch heads length width"],
        positions: Int[Tensor, "length"] | Int[Tensor, "batch length"],
    ) -> Float[Tensor, "batch heads length width"]:
        cos, sin = self.turns(positions, heads.shape[-1], heads.dtype)
        if positions.dim() == 2:
            cos, sin = cos[:, None], sin[:, None]
        first, second = heads.chunk(2, dim=-1)
        return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def angles(
    positions: Int[Tensor, "*shape"], width: int, config: RopeConfig = RopeConfig()
) -> Float[Tensor, "*shape {width//2}"]:
    """position · base^(−2i/width), in float64 whatever the model's type.

    Frequencies are not kept in a buffer, which `model.to(dtype)` would round.
    """
    halves = torch.arange(0, width, 2, dtype=torch.float64, device=positions.device)
    frequencies = config.base ** (-halves / width)
    if config.scaling is not None:
        frequencies = config.scaling.stretch(frequencies, config.base)
    return positions[..., None] * frequencies
