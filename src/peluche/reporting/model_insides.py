"""Where each family keeps what an explanation shows: states, attention, experts, memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from peluche.models.decoder import Decoder
from peluche.models.encoder import Encoder
from peluche.models.language_model import LanguageModel
from peluche.models.recurrent_lm import RecurrentLM
from peluche.models.state_space_lm import StateSpaceBlock, StateSpaceLM
from peluche.nn.stack import Stack
from peluche.nn.trace import Trace
from peluche.reporting.explain_recurrent import CarriedLayer, Signal, carried_layer
from peluche.reporting.following import as_matrix
from peluche.reporting.text_explanation import (
    AttentionHead,
    AttentionLayer,
    RoutedLayer,
    TextShape,
)

TextModel = LanguageModel | Encoder
# Large, and not shown of a long text.
HEAVY = {"query", "key", "value", "products", "scores", "bias", "mixed"}


def kept(layers: Sequence[int]) -> Callable[[str], bool]:
    """What to record so that these layers' attention can be shown; see `Trace`."""
    weights = {f"{layer}.self_attention.weights" for layer in layers}

    def keep(name: str) -> bool:
        last = name.rpartition(".")[2]
        if last == "weights":
            return name.partition(".")[2] in weights
        return last not in HEAVY

    return keep


def shape(model: TextModel) -> TextShape:
    """The sizes of a model."""
    config: Any = model.config
    experts = getattr(config, "experts", None)
    return TextShape(
        kind=config.kind,
        layers=config.layers,
        heads=config.heads if _stack(model) is not None else 0,
        width=model.config.hidden if isinstance(model, RecurrentLM) else config.d_model,
        experts=0 if experts is None else experts.count,
        active=0 if experts is None else experts.active,
        vocabulary=model.vocabulary,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def states(model: TextModel, trace: Trace) -> dict[int, Tensor]:
    """What leaves each layer, (length, width), by its number from 1; 0 is what the first reads.

    A recurrent model's first layer reads vectors of another kind: it has no 0.
    """
    layers = range(model.config.layers)
    if isinstance(model, RecurrentLM):
        return {n + 1: trace[f"recurrent.{n}.forward.hidden"][0] for n in layers}
    before, first = (
        ("", "embedding") if isinstance(model, StateSpaceLM) else (_side(model), "input")
    )
    after = {n + 1: trace[f"{before}{n}.output"][0] for n in layers}
    return {0: trace[before + first][0], **after}


def read_out(model: TextModel, state: Tensor) -> Tensor:
    """Logits (length, vocabulary) from what leaves a layer, as the model makes them of the last."""
    stack = _stack(model)
    if stack is not None:
        return model.logits(stack.norm(state))
    if isinstance(model, StateSpaceLM):
        return model.logits(model.norm(state))
    assert isinstance(model, RecurrentLM), "there is a way out of each family"
    return model.logits(model.readout(state))


def attention(
    model: TextModel, trace: Trace, layers: Sequence[int], heads: Sequence[int]
) -> tuple[AttentionLayer, ...]:
    """Weights of these heads of these layers."""
    names = {layer: f"{_side(model)}{layer}.self_attention.weights" for layer in layers}
    return tuple(
        AttentionLayer(
            layer, tuple(AttentionHead(head, as_matrix(trace[name][0, head])) for head in heads)
        )
        for layer, name in names.items()
    )


def routing(model: TextModel, trace: Trace) -> tuple[RoutedLayer, ...]:
    """What each layer of experts did; empty for a model without."""
    found = []
    for layer in range(model.config.layers):
        name = f"{_side(model)}{layer}.gates"
        if name in trace:
            gates = as_matrix(trace[name])
            taken = (gates > 0).sum(0)
            load = taken / max(int(taken.sum()), 1)
            found.append(RoutedLayer(layer, gates, tuple(load.tolist())))
    return tuple(found)


def memory(model: TextModel, trace: Trace) -> tuple[CarriedLayer, ...]:
    """What a model without attention carries from token to token; empty for others."""
    if isinstance(model, RecurrentLM):
        layers = range(model.config.layers)
        return tuple(carried_layer([trace], "recurrent", n, "forward", None) for n in layers)
    if not isinstance(model, StateSpaceLM):
        return ()
    found = []
    for layer, block in enumerate(model.blocks):
        assert isinstance(block, StateSpaceBlock)
        share = torch.exp(-trace[f"{layer}.step"][0] * block.mixer.decay_log.exp())
        found.append(CarriedLayer(layer, "forward", (Signal("kept", True, as_matrix(share)),), ()))
    return tuple(found)


def evenly(count: int, total: int) -> list[int]:
    """So many of 0 … total − 1, the first and the last among them."""
    return sorted({round(place) for place in np.linspace(0, total - 1, count).tolist()})


def _stack(model: TextModel) -> Stack | None:
    if isinstance(model, Decoder):
        return model.decoder
    return model.encoder if isinstance(model, Encoder) else None


def _side(model: TextModel) -> str:
    return "encoder." if isinstance(model, Encoder) else "decoder."
