"""Averages of weights over training, often better than the last ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from peluche.config import Config

Weights = dict[str, Tensor]


class ExponentialConfig(Config):
    """An exponential moving average, updated at every step."""

    kind: Literal["ema"] = "ema"
    decay: float = Field(0.998, gt=0, lt=1)

    def build(self, model: nn.Module) -> Averaging:
        return Exponential(self, model)


class LastConfig(Config):
    """The mean of the last `count` snapshots, one taken at each evaluation (Vaswani 2017, §6.1)."""

    kind: Literal["last"] = "last"
    count: int = Field(10, gt=0)

    def build(self, model: nn.Module) -> Averaging:
        return Last(self)


AveragingConfig = Annotated[ExponentialConfig | LastConfig, Field(discriminator="kind")]


class Averaging:
    """Keeps an average of a model's weights."""

    def update(self, model: nn.Module, step: int) -> None:
        """After every optimizer step."""

    def snapshot(self, model: nn.Module) -> None:
        """Before every evaluation."""

    @property
    def ready(self) -> bool:
        """Whether there is an average yet."""
        return True

    def weights(self) -> Weights:
        """The average now."""
        raise NotImplementedError

    def state(self) -> dict[str, Weights]:
        """What a resume needs, as groups of tensors."""
        raise NotImplementedError

    def load_state(self, groups: dict[str, Weights]) -> None:
        """Take back what `state` gave."""
        raise NotImplementedError


class Exponential(Averaging):
    """w ← d·w + (1 − d)·model, with d rising to `decay` as (1 + t)/(10 + t) at first."""

    def __init__(self, config: ExponentialConfig, model: nn.Module) -> None:
        self.config = config
        self.average = _copy(model)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.config.decay, (1 + step) / (10 + step))
        parameters = dict(model.named_parameters())
        kept = [self.average[name] for name in parameters]
        torch._foreach_lerp_(kept, list(parameters.values()), 1 - decay)

    def weights(self) -> Weights:
        return self.average

    def state(self) -> dict[str, Weights]:
        return {"average": self.average}

    def load_state(self, groups: dict[str, Weights]) -> None:
        for name, tensor in groups["average"].items():
            self.average[name].copy_(tensor)


class Last(Averaging):
    """The mean of a queue of snapshots."""

    def __init__(self, config: LastConfig) -> None:
        self.config = config
        self.snapshots: list[Weights] = []

    def snapshot(self, model: nn.Module) -> None:
        self.snapshots = [*self.snapshots, _copy(model)][-self.config.count :]

    @property
    def ready(self) -> bool:
        return bool(self.snapshots)

    def weights(self) -> Weights:
        names = self.snapshots[0]
        return {
            name: torch.stack([weights[name] for weights in self.snapshots]).mean(0)
            for name in names
        }

    def state(self) -> dict[str, Weights]:
        return {f"snapshot{index}": weights for index, weights in enumerate(self.snapshots)}

    def load_state(self, groups: dict[str, Weights]) -> None:
        names = sorted((n for n in groups if n.startswith("snapshot")), key=lambda n: int(n[8:]))
        self.snapshots = [dict(groups[name]) for name in names]


@contextmanager
def replaced(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """A model with other weights for a while; its own come back at the end."""
    own = _copy(model)
    _put(model, weights)
    try:
        yield
    finally:
        _put(model, own)


def _copy(model: nn.Module) -> Weights:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@torch.no_grad()
def _put(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(weights[name])
