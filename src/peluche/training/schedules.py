"""Learning-rate schedules: the factor on the base rate at a step."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import Field

from peluche.config import Config


class _Schedule(Config):
    warmup: int = Field(400, ge=0, description="steps of linear rise to the base rate")

    def factor(self, step: int, total: int) -> float:
        """Factor on the base rate for step `step` (from 1) of `total`."""
        if step < self.warmup:
            return step / self.warmup
        return self._after(step, total)

    @abstractmethod
    def _after(self, step: int, total: int) -> float: ...


class Constant(_Schedule):
    """The base rate after warm-up."""

    kind: Literal["constant"] = "constant"

    def _after(self, step: int, total: int) -> float:
        return 1.0


class InverseSqrt(_Schedule):
    """Falls as 1/√step after warm-up (Vaswani et al. 2017, eq. 3, rescaled to peak at 1)."""

    kind: Literal["inverse_sqrt"] = "inverse_sqrt"

    def _after(self, step: int, total: int) -> float:
        return math.sqrt(max(self.warmup, 1) / step)


class Cosine(_Schedule):
    """Half a cosine from 1 to `floor` (Loshchilov & Hutter 2017)."""

    kind: Literal["cosine"] = "cosine"
    floor: float = Field(0.0, ge=0, le=1)

    def _after(self, step: int, total: int) -> float:
        done = min(1.0, (step - self.warmup) / max(1, total - self.warmup))
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done))


class WarmupStableDecay(_Schedule):
    """Constant, then linear to `floor` over the last `decay` share of steps (Hu et al. 2024)."""

    kind: Literal["wsd"] = "wsd"
    decay: float = Field(0.2, gt=0, le=1)
    floor: float = Field(0.0, ge=0, le=1)

    def _after(self, step: int, total: int) -> float:
        length = max(1.0, self.decay * total)
        left = min(1.0, max(0.0, (total - step) / length))
        return self.floor + (1 - self.floor) * left


Schedule = Annotated[
    Constant | InverseSqrt | Cosine | WarmupStableDecay, Field(discriminator="kind")
]
