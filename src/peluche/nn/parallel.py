"""Where a model can be cut, for processes that train it together; models know nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from peluche.errors import ConfigError
from peluche.nn.attention import MultiHeadAttention
from peluche.nn.feedforward import FeedForward, GatedFeedForward
from peluche.nn.stack import Stack

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The layers: members of every list of modules that is not inside another one's."""
    found: list[nn.Module] = []
    for child in model.children():
        found += list(child) if isinstance(child, nn.ModuleList) else layers_of(child)
    return [layer for layer in found if any(True for _ in layer.parameters())]


def split_heads(model: nn.Module, mesh: DeviceMesh) -> None:
    """Divide heads of attention and inner features of feed-forward layers along a mesh, in place.

    Matrices that make heads or inner features are cut by rows, those that bring them together by
    columns, so that a layer exchanges its output only (Shoeybi et al. 2019, §3). Other parts are
    computed by every process alike.

    Raises:
        ConfigError: heads do not divide, or something is bound to all heads at once.
    """
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        RowwiseParallel,
        parallelize_module,
    )

    count = mesh.size()
    if any(isinstance(part, Stack) and part.bias is not None for part in model.modules()):
        raise _undivided("biases of scores (ALiBi, T5)")
    for module in list(model.modules()):
        if isinstance(module, MultiHeadAttention):
            if module.query_norm is not None:
                raise _undivided("norms of queries and keys (qk_norm)")
            if module.kv_heads % count:
                raise ConfigError(
                    f"{module.kv_heads} heads of keys and values do not divide among {count} "
                    "processes",
                    where="training.parallel.tensor",
                    remedy="set it to a divisor of model.kv_heads (model.heads, if not given)",
                )
            inner, outer = ["query", "key", "value"], "out"
            module.heads //= count
            module.kv_heads //= count
        elif isinstance(module, FeedForward | GatedFeedForward):
            gated = isinstance(module, GatedFeedForward)
            inner, outer = ["gate", "up"] if gated else ["up"], "down"
            if module.activation is torch.relu_:
                module.activation = torch.relu  # what is exchanged may not be changed in place
        else:
            continue
        plan = {**dict.fromkeys(inner, ColwiseParallel()), outer: RowwiseParallel()}
        parallelize_module(module, mesh, plan)


def _undivided(what: str) -> ConfigError:
    return ConfigError(
        f"{what} belong to all heads and are not divided",
        where="training.parallel.tensor",
        remedy="set training.parallel.tensor=1",
    )
