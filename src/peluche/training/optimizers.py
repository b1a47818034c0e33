"""Optimizers as configurations."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from peluche.config import Config


class OptimizerConfig(Config):
    """Adam (Kingma & Ba 2015) or AdamW (Loshchilov & Hutter 2019).

    Weight decay goes to matrices only: not to biases, norms or embeddings.
    """

    kind: Literal["adam", "adamw"] = "adamw"
    lr: float = Field(1e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = Field(1e-9, gt=0)
    weight_decay: float = Field(0.01, ge=0)

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer over a model's parameters."""
        embeddings = {
            id(parameter)
            for module in model.modules()
            if isinstance(module, nn.Embedding)
            for parameter in module.parameters()
        }
        decayed: list[nn.Parameter] = []
        plain: list[nn.Parameter] = []
        for parameter in model.parameters():
            matrix = parameter.dim() >= 2 and id(parameter) not in embeddings
            (decayed if matrix else plain).append(parameter)
        groups = [
            {"params": decayed, "weight_decay": self.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        kind = torch.optim.AdamW if self.kind == "adamw" else torch.optim.Adam
        return kind(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=True)
