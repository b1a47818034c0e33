"""Random numbers and optimizers as plain tensors, so that a run can be stopped and go on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from peluche.processes import Processes
from peluche.training.optimizers import Combined


def random_state() -> dict[str, Tensor]:
    """The state of torch's random number generators."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def random_states(processes: Processes) -> dict[str, Tensor]:
    """Those of all processes; names of the first one's are as `random_state` has them."""
    return {
        name if rank == 0 else f"{name}.{rank}": tensor
        for rank, state in enumerate(processes.everyone(random_state()))
        for name, tensor in state.items()
    }


def set_random_state(state: Mapping[str, Tensor], rank: int = 0) -> None:
    """Take back what `random_state` or `random_states` gave.

    A process that was not there when it was saved starts from its number.
    """
    end = f".{rank}" if rank else ""
    if f"cpu{end}" not in state:
        seed_process(state["cpu"].sum().item(), rank)
        return
    torch.set_rng_state(state[f"cpu{end}"])
    if f"cuda{end}" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state[f"cuda{end}"])


def seed_process(seed: float, rank: int) -> None:
    """Random numbers of a process: the first one's are the seed's, others draw others."""
    torch.manual_seed(int(seed) + 1_000_003 * rank)


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


def parameter_names(
    model: nn.Module, optimizer: torch.optim.Optimizer | Combined
) -> dict[int, str]:
    """The name of each parameter by its number in `optimizer_tensors`."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    members = [member for group in optimizer.param_groups for member in group["params"]]
    return {number: names[id(member)] for number, member in enumerate(members)}
