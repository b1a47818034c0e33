"""What a layer may do to save memory or time: be computed twice, or be compiled."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from peluche.nn.experts import Experts
from peluche.nn.parallel import layers_of


def forget_activations(model: nn.Module) -> None:
    """Let each layer keep its input only and compute the rest again in the backward pass.

    Memory for activations then grows with the number of layers by one input each, for about a
    third more arithmetic (Chen et al. 2016, "Training deep nets with sublinear memory cost").
    """
    for layer in layers_of(model):
        layer.forward = partial(_again, layer, layer.forward)


def _again(module: nn.Module, forward: Any, /, *inputs: Any, **options: Any) -> Any:
    if not module.training:
        return forward(*inputs, **options)
    return checkpoint(forward, *inputs, use_reentrant=False, **options)


def compile_layers(model: nn.Module) -> None:
    """Compile each layer in place, but for experts, whose grouped products the compiler of CPUs
    does not know. The first steps take minutes."""
    for module in list(model.modules()):
        if isinstance(module, Experts):
            module.forward = torch.compiler.disable(module.forward)  # type: ignore[method-assign]
    for layer in layers_of(model):
        layer.compile()
