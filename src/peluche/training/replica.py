"""A model as processes train it: alone, copied to each (DDP), or divided among them (FSDP2)."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from peluche.config import Config
from peluche.errors import CheckpointError, ConfigError
from peluche.hub.sharded import is_divided
from peluche.nn.parallel import layers_of, split_heads
from peluche.objectives.base import Losses, Objective, UpdatingObjective
from peluche.processes import Processes
from peluche.training.averaging import replaced

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


AnyObjective = Objective | UpdatingObjective


class ReplicatedConfig(Config):
    """A copy of the model in every process (DistributedDataParallel, Li et al. 2020)."""

    kind: Literal["replicated"] = "replicated"
    tensor: Literal[1] = 1

    def build(self, model: nn.Module, objective: AnyObjective, processes: Processes) -> Replica:
        """The copy of this process.

        Raises:
            ConfigError: the objective changes weights itself.
        """
        if processes.count == 1:
            return Replica(model, objective)
        return Copied(model, _divisible(objective))


class ShardedConfig(Config):
    """Weights, gradients and the optimizer's state divided among processes (FSDP2).

    A layer is put together when it computes (Zhao et al. 2023; ZeRO-3 of Rajbhandari et al. 2020).

    Attributes:
        tensor: so many processes in a row also divide the heads and the inner features of each
            layer among them and compute every batch together (Shoeybi et al. 2019).
    """

    kind: Literal["sharded"] = "sharded"
    tensor: int = Field(1, gt=0)

    def build(self, model: nn.Module, objective: AnyObjective, processes: Processes) -> Replica:
        """The part of this process.

        Raises:
            ConfigError: the objective changes weights itself or needs them whole, or heads do not
                divide.
        """
        if processes.count == 1:
            return Replica(model, objective)
        if getattr(objective, "whole_weights", False):
            raise ConfigError(
                "this objective changes whole matrices after each step (objective.qk_clip)",
                where="training.parallel.kind",
                remedy="set it to replicated, or use model.qk_norm instead",
            )
        return Divided(model, _divisible(objective), processes, self.tensor)


ParallelConfig = Annotated[ReplicatedConfig | ShardedConfig, Field(discriminator="kind")]


def _divisible(objective: AnyObjective) -> Objective:
    if isinstance(objective, UpdatingObjective):
        raise ConfigError(
            "word vectors are trained by threads of one process, not by several processes",
            remedy="leave torchrun out; training.threads is how many workers there are",
        )
    if getattr(objective, "whole_step", False) and not getattr(objective, "exchanges", False):
        raise ConfigError(
            "this objective compares all examples of a step with one another, which several "
            "processes do not",
            remedy="leave torchrun out",
        )
    return objective


class Worth(nn.Module):
    """A model and its objective as one module, which is what engines of distribution wrap."""

    def __init__(self, model: nn.Module, objective: AnyObjective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, batch: Any) -> Losses:
        """What the batch is worth."""
        assert not isinstance(self.objective, UpdatingObjective)
        return self.objective(self.model, batch)


class Replica:
    """A model that one process trains alone.

    Attributes:
        model: the whole model, for evaluation and saving; between calls of `shown`, only the first
            process can rely on its weights.
        trained: what the optimizer changes.
        worth: called with a batch, gives its losses.
        objective: what a batch is worth.
        scale: what a loss is multiplied by before `backward`, since engines take the mean of
            gradients over processes where the loop wants the sum.
    """

    scale = 1.0

    def __init__(self, model: nn.Module, objective: AnyObjective) -> None:
        self.model = self.trained = model
        self.objective = objective
        self.worth: nn.Module = Worth(model, objective)

    def more_to_come(self) -> AbstractContextManager[Any]:
        """Around micro-batches of a step other than the last one."""
        return nullcontext()

    def shown(self, weights: Mapping[str, Tensor] | None) -> AbstractContextManager[None]:
        """`model` with these weights, or those that are trained, in the first process."""
        return nullcontext() if weights is None else replaced(self.model, weights)

    def tensors(self) -> dict[str, Tensor]:
        """What is trained and the buffers, each once, by its first name."""
        found = self.trained.state_dict(keep_vars=True)
        first = {id(tensor): name for name, tensor in reversed(found.items())}
        return {name: found[name].detach() for name in reversed(first.values())}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` gave, divided as it is here.

        Raises:
            CheckpointError: one is missing, or of another shape.
        """
        for name, own in self.tensors().items():
            if name not in tensors or tensors[name].shape != own.shape:
                raise CheckpointError(
                    f"the state has no {name} of shape {tuple(own.shape)}",
                    remedy="resume with the version of peluche that saved it, or train anew",
                )
            own.copy_(tensors[name])

    def clip(self, limit: float) -> float:
        """Scale gradients down so that their norm is at most `limit`; returns it as it was."""
        parameters = self.trained.parameters()
        return float(nn.utils.clip_grad_norm_(parameters, limit, foreach=True))

    def place(self, name: str, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """Where a tensor of a saved state goes: as the parameter `name` is divided, if it is."""
        return torch.empty(shape, dtype=dtype)


class Copied(Replica):
    """The same in every process; gradients are added up while they are computed."""

    def __init__(self, model: nn.Module, objective: AnyObjective) -> None:
        super().__init__(model, objective)
        # Not every batch uses every parameter, such as the one that tells two texts apart. And
        # where unused ones are not looked for, gradients are sent in another order after the first
        # step, and more than two are added up in another one: resuming would not be bit for bit.
        # One that no batch uses keeps torch from warning where the others are all used.
        device = next(model.parameters()).device
        self.worth.never_used = nn.Parameter(torch.zeros((), device=device))
        # Buffers follow from what all do alike; broadcasting them would only cost time.
        self.engine = nn.parallel.DistributedDataParallel(
            self.worth, forward_sync_buffers=False, find_unused_parameters=True
        )
        self.worth = self.engine
        self.scale = float(torch.distributed.get_world_size())

    def more_to_come(self) -> AbstractContextManager[Any]:
        return self.engine.no_sync()


class Divided(Replica):
    """A part of every matrix in each process; the first one keeps a whole model to show."""

    def __init__(
        self, model: nn.Module, objective: AnyObjective, processes: Processes, team: int
    ) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        super().__init__(model, objective)
        device = next(model.parameters()).device.type
        teams = processes.count // team
        mesh = init_device_mesh(device, (teams, team), mesh_dim_names=("data", "tensor"))
        self.trained = copy.deepcopy(model)
        if team > 1:
            split_heads(self.trained, mesh["tensor"])
        self.worth = Worth(self.trained, objective)
        for layer in layers_of(self.trained):
            fully_shard(layer, mesh=mesh["data"])
        fully_shard(self.worth, mesh=mesh["data"])
        self.scale, self.processes = float(teams), processes
        self.parameters = dict(self.trained.named_parameters())
        if not processes.first:
            model.to("meta")

    @contextmanager
    def shown(self, weights: Mapping[str, Tensor] | None) -> Iterator[None]:
        # No one trains `model`, so nothing has to be put back.
        for name, tensor in {**self.tensors(), **(weights or {})}.items():
            whole = tensor
            if is_divided(whole):
                whole = whole.full_tensor()  # all processes take part
            if self.processes.first:
                _member(self.model, name).copy_(whole)
        yield

    def clip(self, limit: float) -> float:
        # Parts of a tensor may be held by several processes; each counts once.
        found = [parameter.grad for parameter in self.trained.parameters()]
        gradients = [gradient for gradient in found if is_divided(gradient)]
        parts = [gradient.to_local() for gradient in gradients]
        norms = torch._foreach_norm(parts)
        held = [_holders(part, self.processes.count) for part in gradients]
        squares = sum(float(norm) ** 2 / times for norm, times in zip(norms, held, strict=True))
        # What every process of a team gives is counted once for the team.
        squares *= self.processes.team
        norm = self.processes.total({"squares": squares})["squares"] ** 0.5
        if norm > limit:
            torch._foreach_mul_(parts, limit / (norm + 1e-6))
        return norm

    def place(self, name: str, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        like = self.parameters.get(name)
        if like is None or like.shape != shape:
            return super().place(name, shape, dtype)
        return torch.empty_like(like, dtype=dtype)


def _holders(part: DTensor, processes: int) -> float:
    """How many of all processes hold each element."""
    sizes = zip(part.placements, part.device_mesh.shape, strict=True)
    return processes / math.prod(size for placement, size in sizes if not placement.is_replicate())


def _member(model: nn.Module, name: str) -> Tensor:
    """A parameter or buffer, without its gradient."""
    path, _, last = name.rpartition(".")
    found: Tensor = getattr(model.get_submodule(path), last)
    return found.detach()
