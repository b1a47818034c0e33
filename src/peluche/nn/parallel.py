"""Where a model can be cut, for processes that train it together; models know nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from peluche.errors import ConfigError
from peluche.nn.attention import MultiHeadAttention
from peluche.nn.feedforward import FeedForward, GatedFeedForward
from peluche.nn.stack import Stack

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor.parallel import ParallelStyle


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The layers: members of every list of modules that is not inside another one's."""
    found: list[nn.Module] = []
    for child in model.children():
        found += list(child) if isinstance(child, nn.ModuleList) else layers_of(child)
    return [layer for layer in found if any(True for _ in layer.parameters())]


def check_divides(model: nn.Module, count: int) -> None:
    """Raise ConfigError unless heads and inner features divide among so many processes."""
    for module in model.modules():
        if isinstance(module, MultiHeadAttention) and module.kv_heads % count:
            what = f"{module.kv_heads} heads of keys and values"
            of = "model.kv_heads (model.heads, if not given)"
        elif isinstance(module, FeedForward | GatedFeedForward) and module.up.out_features % count:
            what, of = f"{module.up.out_features} features of feed-forward layers", "model.d_ff"
        else:
            continue
        raise ConfigError(
            f"{what} do not divide among {count} processes",
            where="training.parallel.tensor",
            remedy=f"set it to a divisor of {of}",
        )


def split_heads(model: nn.Module, mesh: DeviceMesh) -> None:
    """Divide heads of attention and inner features of feed-forward layers along a mesh, in place.

    Matrices that make heads or inner features are cut by rows, those that bring them together by
    columns, so that a layer exchanges its output only (Shoeybi et al. 2019, §3). Norms of queries
    and keys, and biases of scores, are for each process's own heads, with the weights of all. Other
    parts are computed by every process alike.

    Raises:
        ConfigError: see `check_divides`.
    """
    from torch.distributed.tensor.parallel import (
        ColwiseParallel,
        RowwiseParallel,
        SequenceParallel,
        parallelize_module,
    )

    count = mesh.size()
    check_divides(model, count)
    heads = SequenceParallel(sequence_dim=1, use_local_output=True)  # (batch, heads, length, width)
    for module in list(model.modules()):
        plan: dict[str, ParallelStyle] = {}
        if isinstance(module, Stack) and module.bias is not None:
            if any(isinstance(block.self_attention, MultiHeadAttention) for block in module.blocks):
                _split_bias(module.bias, mesh)
            continue
        if isinstance(module, MultiHeadAttention):
            inner, outer = ["query", "key", "value"], "out"
            module.heads //= count
            module.kv_heads //= count
            norms = {"query_norm": module.query_norm, "key_norm": module.key_norm}
            plan = {name: heads for name, norm in norms.items() if norm is not None}
        elif isinstance(module, FeedForward | GatedFeedForward):
            gated = isinstance(module, GatedFeedForward)
            inner, outer = ["gate", "up"] if gated else ["up"], "down"
            if module.activation is torch.relu_:
                module.activation = torch.relu  # what is exchanged may not be changed in place
        else:
            continue
        plan |= {**dict.fromkeys(inner, ColwiseParallel()), outer: RowwiseParallel()}
        parallelize_module(module, mesh, plan)


def _split_bias(bias: nn.Module, mesh: DeviceMesh) -> None:
    """Let a process hand on the biases (1, heads, query, key) of its own heads only."""
    from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_module

    def enter(_: nn.Module, places: tuple[Tensor, ...], mesh: DeviceMesh) -> tuple[DTensor, ...]:
        everywhere = [Replicate()]
        return tuple(DTensor.from_local(one, mesh, everywhere, run_check=False) for one in places)

    def leave(_: nn.Module, found: DTensor, mesh: DeviceMesh) -> Tensor:
        return found.redistribute(placements=[Shard(1)]).to_local()

    # Their annotations say that both give nothing; what they give is passed on.
    distribute_module(bias, mesh, input_fn=enter, output_fn=leave)  # type: ignore[arg-type]
