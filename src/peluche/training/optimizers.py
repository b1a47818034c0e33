"""Optimizers as configurations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn

from peluche.config import Config

HEAD = "head."


class OptimizerConfig(Config):
    """Adam (Kingma & Ba 2015), AdamW (Loshchilov & Hutter 2019), Muon (Jordan et al. 2024), and
    plain gradient descent and AdaGrad (Duchi et al. 2011), as word vectors have them.

    Weight decay goes to matrices only: not to biases, norms or embeddings. Muon moves hidden
    matrices, AdamW the rest, with one learning rate for both: Muon's update is scaled to the size
    of AdamW's (Liu et al. 2025, "Muon is Scalable for LLM Training", eq. 4).

    Modules with an attribute `rate_share` learn at that share of the rate. Parameters that need no
    gradient are left out.
    """

    kind: Literal["adam", "adamw", "muon", "sgd", "adagrad"] = "adamw"
    lr: float = Field(1e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = Field(1e-9, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    momentum: float = Field(0.95, ge=0, lt=1, description="of muon")

    def build(self, model: nn.Module) -> torch.optim.Optimizer | Combined:
        """The optimizer over a model's parameters."""
        embeddings = {
            id(parameter)
            for module in model.modules()
            if isinstance(module, nn.Embedding)
            for parameter in module.parameters()
        }
        hidden: list[nn.Parameter] = []
        decayed: list[nn.Parameter] = []
        plain: list[nn.Parameter] = []
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            matrix = parameter.dim() >= 2 and id(parameter) not in embeddings
            if (
                matrix
                and parameter.dim() == 2
                and self.kind == "muon"
                and not name.startswith(HEAD)
            ):
                hidden.append(parameter)
            else:
                (decayed if matrix else plain).append(parameter)
        groups = [
            {**group, "weight_decay": decay}
            for parameters, decay in ((decayed, self.weight_decay), (plain, 0.0))
            for group in self._by_rate(parameters, model)
        ]
        if self.kind == "sgd":
            return torch.optim.SGD(groups, lr=self.lr)
        if self.kind == "adagrad":
            return torch.optim.Adagrad(groups, lr=self.lr, eps=self.eps)
        kind = torch.optim.Adam if self.kind == "adam" else torch.optim.AdamW
        adam = kind(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=True)
        if not hidden:
            return adam
        muon = torch.optim.Muon(
            self._by_rate(hidden, model),
            lr=self.lr,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            adjust_lr_fn="match_rms_adamw",
        )
        return Combined([muon, adam])

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
