"""Random numbers and optimizers as plain tensors, so that a run can be stopped and go on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from peluche.training.optimizers import Combined


def random_state() -> dict[str, Tensor]:
    """The state of torch's random number generators."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Tensor]) -> None:
    """Take back what `random_state` gave."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Whatever draws random numbers inside leaves training as it would have been."""
    state = random_state()
    try:
        yield
    finally:
        set_random_state(state)


def optimizer_tensors(optimizer: torch.optim.Optimizer | Combined) -> dict[str, Tensor]:
    """The state of every parameter, by number of the parameter and name."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, values in state.items()
        for name, value in values.items()
    }


def load_optimizer_tensors(
    optimizer: torch.optim.Optimizer | Combined, tensors: Mapping[str, Tensor]
) -> None:
    """Take back what `optimizer_tensors` gave; rates and the like stay as they are."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
