"""Optimizers as configurations."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import nn

from peluche.config import Config
from peluche.errors import ConfigError
from peluche.hub.sharded import is_divided
from peluche.nn.experts import Experts
from peluche.training.muon import StackedMuon

HEAD = "head."
LIBRARIES = ("torch.optim", "pytorch_optimizer")


class OptimizerConfig(Config):
    """Adam (Kingma & Ba 2015), AdamW (Loshchilov & Hutter 2019), Muon (Jordan et al. 2024), and
    plain gradient descent and AdaGrad (Duchi et al. 2011), as word vectors have them.

    Weight decay goes to matrices only: not to biases, norms or embeddings. Muon moves hidden
    matrices, AdamW the rest, with one learning rate for both: Muon's update is scaled to the size
    of AdamW's (Liu et al. 2025, "Muon is Scalable for LLM Training", eq. 4). Experts' matrices,
    which are stacked, are each a matrix to it.

    `library` takes the class that `name` names from torch.optim or pytorch_optimizer.

    Modules with an attribute `rate_share` learn at that share of the rate. Parameters that need no
    gradient are left out.
    """

    kind: Literal["adam", "adamw", "muon", "sgd", "adagrad", "library"] = "adamw"
    name: str | None = Field(None, description="of library, such as pytorch_optimizer.Lion")
    options: dict[str, Any] = Field({}, description="of library, besides lr and weight_decay")
    lr: float = Field(1e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = Field(1e-9, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    momentum: float = Field(0.95, ge=0, lt=1, description="of muon")

    @model_validator(mode="after")
    def _name_fits(self) -> OptimizerConfig:
        if (self.kind == "library") != (self.name is not None):
            raise ValueError("name belongs to kind 'library', which needs one")
        if self.options and self.kind != "library":
            raise ValueError("options belong to kind 'library'")
        return self

    def build(self, model: nn.Module) -> torch.optim.Optimizer | Combined:
        """The optimizer over a model's parameters.

        Raises:
            ConfigError: a library's optimizer cannot be had, or Muon is asked to scale by muP.
        """
        embeddings = {
            id(parameter)
            for module in model.modules()
            if isinstance(module, nn.Embedding)
            for parameter in module.parameters()
        }
        stacks = {
            id(parameter)
            for module in model.modules()
            if isinstance(module, Experts)
            for parameter in module.parameters(recurse=False)
        }
        wider = getattr(getattr(model, "config", None), "width_multiplier", 1.0)
        if wider != 1 and self.kind not in ("adam", "adamw"):
            raise ConfigError(
                f"model.mup has no rule for optimizer.kind={self.kind}",
                remedy="take adamw, or leave model.mup out",
            )
        hidden: list[nn.Parameter] = []
        stacked: list[nn.Parameter] = []
        narrowed: list[nn.Parameter] = []
        decayed: list[nn.Parameter] = []
        plain: list[nn.Parameter] = []
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            matrix = parameter.dim() >= 2 and id(parameter) not in embeddings
            inside = matrix and not name.startswith(HEAD)
            if self.kind == "muon" and inside and parameter.dim() == 2:
                hidden.append(parameter)
            elif self.kind == "muon" and id(parameter) in stacks:
                stacked.append(parameter)
            elif wider != 1 and inside:
                narrowed.append(parameter)
            else:
                (decayed if matrix else plain).append(parameter)
        groups = [
            {**group, "weight_decay": decay}
            for parameters, decay in ((decayed, self.weight_decay), (plain, 0.0))
            for group in self._by_rate(parameters, model)
        ]
        if narrowed:
            # The product of rate and decay is what shrinks a weight; it stays the same.
            decay = self.weight_decay * wider
            groups.append({"params": narrowed, "weight_decay": decay, "lr": self.lr / wider})
        if self.kind == "library":
            return self._from_library(groups)
        if self.kind == "sgd":
            return torch.optim.SGD(groups, lr=self.lr)
        if self.kind == "adagrad":
            return torch.optim.Adagrad(groups, lr=self.lr, eps=self.eps)
        kind = torch.optim.Adam if self.kind == "adam" else torch.optim.AdamW
        adam = kind(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=True)
        if not hidden:
            return adam
        return Combined([*self._muons(hidden, stacked, model), adam])

    def _muons(
        self, hidden: list[nn.Parameter], stacked: list[nn.Parameter], model: nn.Module
    ) -> list[torch.optim.Optimizer]:
        matrices = self._by_rate(hidden, model)
        decay, momentum = self.weight_decay, self.momentum
        experts = [StackedMuon(stacked, self.lr, decay, momentum)] if stacked else []
        if is_divided(hidden[0]):
            return [StackedMuon(matrices, self.lr, decay, momentum), *experts]
        muon = torch.optim.Muon(
            matrices,
            lr=self.lr,
            weight_decay=decay,
            momentum=momentum,
            adjust_lr_fn="match_rms_adamw",
        )
        return [muon, *experts]

    def _from_library(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Only optimizers, and only of these two: a recipe must not run whatever it names."""
        library, _, name = (self.name or "").rpartition(".")
        if library not in LIBRARIES:
            raise ConfigError(
                f"'{self.name}' is no optimizer of {' or '.join(LIBRARIES)}",
                remedy="write for instance torch.optim.NAdam or pytorch_optimizer.Lion",
            )
        try:
            found = getattr(importlib.import_module(library), name, None)
        except ImportError as error:
            raise ConfigError(
                f"{library} is not installed", remedy="pip install 'peluche[optimizers]'"
            ) from error
        if not (isinstance(found, type) and issubclass(found, torch.optim.Optimizer)):
            raise ConfigError(
                f"{library} has no optimizer '{name}'", remedy="see its documentation"
            )
        try:
            return cast(Any, found)(groups, lr=self.lr, **self.options)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{self.name} refuses its options: {error}", remedy="change optimizer.options"
            ) from error

    def _by_rate(
        self, parameters: Sequence[nn.Parameter], model: nn.Module
    ) -> list[dict[str, Any]]:
        """Groups of one learning rate each, the full one first."""
        shares = {
            id(parameter): float(share)
            for module in model.modules()
            if (share := getattr(module, "rate_share", None)) is not None
            for parameter in module.parameters()
        }
        groups: dict[float, list[nn.Parameter]] = {1.0: []}
        for parameter in parameters:
            groups.setdefault(shares.get(id(parameter), 1.0), []).append(parameter)
        return [{"params": found, "lr": self.lr * share} for share, found in groups.items()]


class Combined:
    """Several optimizers, each for parameters of its own, that step together.

    It has what the loop and its checkpoints use of an optimizer; groups and numbers of parameters
    run through all of them.
    """

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = list(parts)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups themselves: a rate that is set here is used."""
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        state: dict[int, Any] = {}
        groups: list[dict[str, Any]] = []
        first = 0
        for part in self.parts:
            saved = part.state_dict()
            state |= {first + number: values for number, values in saved["state"].items()}
            groups += saved["param_groups"]
            first += _count(part)
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        first, groups = 0, list(state_dict["param_groups"])
        for part in self.parts:
            count = _count(part)
            state = {
                number - first: values
                for number, values in state_dict["state"].items()
                if first <= number < first + count
            }
            own = [groups.pop(0) for _ in part.param_groups]
            part.load_state_dict({"state": state, "param_groups": own})
            first += count


def _count(optimizer: torch.optim.Optimizer) -> int:
    return sum(len(group["params"]) for group in optimizer.param_groups)
