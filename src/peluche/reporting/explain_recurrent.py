"""Following one sentence through a recurrent model: what is carried from word to word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from peluche.generation.config import DecodingConfig
from peluche.models.recurrent_seq2seq import RecurrentSeq2seq
from peluche.nn.trace import Trace, tracing
from peluche.reporting.explanation import Beam, Matrix, Sentence, Step, Token, plain
from peluche.reporting.following import as_matrix, decoding_steps, follow_search
from peluche.reporting.words import align, beginning
from peluche.text.tokenizer import Tokenizer

GATES = ("input", "reset", "update", "forget", "output")


@dataclass(frozen=True)
class Signal:
    """One quantity of a recurrent layer, token by token.

    Attributes:
        name: hidden, cell, candidate, or a gate: input, reset, update, forget, output; kept of a
            state space.
        gate: whether values lie between 0, shut, and 1, open.
        values: (tokens, width).
    """

    name: str
    gate: bool
    values: Matrix


@dataclass(frozen=True)
class CarriedLayer:
    """One recurrent layer in one direction.

    Attributes:
        layer: from 0.
        direction: forward or backward.
        change: per token, how much of the state is new: ‖h − h'‖ / (‖h‖ + ‖h'‖), where h' is the
            state before; 0 if it stays, 1 if it turns round. Empty if there is no state among the
            signals.
    """

    layer: int
    direction: str
    signals: tuple[Signal, ...]
    change: tuple[float, ...]


@dataclass(frozen=True)
class RecurrentShape:
    """The sizes of the model."""

    kind: str
    cell: str
    layers: int
    decoder_layers: int
    embedding: int
    hidden: int
    attention: str
    vocabulary: int
    parameters: int


@dataclass(frozen=True)
class RecurrentExplanation:
    """A sentence's way through a recurrent encoder and decoder.

    Attributes:
        encoder: a layer and direction each; rows belong to the source's tokens.
        decoder: a layer each; row `n` belongs to step `n`.
        written: what the decoder read, [BOS] first.
        attention: (steps, source tokens); None without attention.
        alignment: the same between words, one matrix (target words, source words); empty without.
    """

    model: RecurrentShape
    source: Sentence
    target: Sentence
    written: tuple[Token, ...]
    encoder: tuple[CarriedLayer, ...]
    decoder: tuple[CarriedLayer, ...]
    attention: Matrix | None
    steps: tuple[Step, ...]
    beam: Beam
    alignment: tuple[Matrix, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON; numbers keep 5 significant digits and at most 6 decimals."""
        found: dict[str, Any] = plain(self)
        return found


def explain_recurrent(
    model: RecurrentSeq2seq,
    tokenizer: Tokenizer,
    sentence: str,
    decoding: DecodingConfig,
    candidates: int,
) -> RecurrentExplanation:
    """See `peluche.reporting.explain.explain`. The decoder is led along the translation."""
    model.eval()
    device = model.head.weight.device
    with torch.inference_mode():
        followed = follow_search(model, tokenizer, sentence, decoding)
        source, target, ids = followed.source, followed.target, followed.ids
        source_ids = torch.tensor([[token.id for token in source.tokens]], device=device)
        with tracing() as encoder:
            memory = model.encode(source_ids, torch.ones_like(source_ids, dtype=torch.bool))
        state = model.start_state(memory, 1, len(ids))
        traces, rows = [], []
        for place, token in enumerate([tokenizer.bos_id, *ids[:-1]]):
            with tracing() as trace:
                hidden = model.hidden(
                    torch.tensor([[token]], device=device),
                    condition=memory,
                    positions=torch.tensor([place]),
                    state=state,
                )
            traces.append(trace)
            rows.append(model.logits(hidden)[0, 0].float().cpu().log_softmax(-1))
    steps = decoding_steps(tokenizer, torch.stack(rows), ids, candidates)
    attention = None
    if model.decoder.attention is not None:
        weights = [trace["decoder.attention.weights"][0, 0] for trace in traces]
        attention = as_matrix(torch.cat(weights))
    starts = as_matrix(memory.start[:, 0])
    return RecurrentExplanation(
        model=_shape(model),
        source=source,
        target=target,
        written=(beginning(tokenizer), *target.tokens[:-1]),
        encoder=tuple(
            carried_layer([encoder], "encoder", layer, direction, None)
            for layer in range(model.encoder.layers)
            for direction in ("forward", "backward")[: model.encoder.directions]
        ),
        decoder=tuple(
            carried_layer(traces, "decoder", layer, "forward", starts[layer])
            for layer in range(model.decoder.recurrent.layers)
        ),
        attention=attention,
        steps=steps,
        beam=followed.beam(steps),
        alignment=()
        if attention is None
        else (
            align(attention, source.tokens, target.tokens, len(source.words), len(target.words)),
        ),
    )


def carried_layer(
    traces: Sequence[Trace], side: str, layer: int, direction: str, start: Matrix | None
) -> CarriedLayer:
    """What a layer carried through one trace after another, from `start`, or from zeros."""
    prefix = f"{side}.{layer}.{direction}."
    names = [name.removeprefix(prefix) for name in traces[0] if name.startswith(prefix)]
    signals = [
        Signal(
            name,
            name in GATES,
            np.concatenate([as_matrix(trace[prefix + name][0]) for trace in traces]),
        )
        for name in sorted(names, key=lambda name: name != "hidden")
    ]
    hidden = signals[0].values
    if direction == "backward":
        hidden = hidden[::-1]
    before = np.concatenate([np.zeros_like(hidden[:1]) if start is None else start[None], hidden])
    change = _change(before[:-1], hidden)
    return CarriedLayer(
        layer, direction, tuple(signals), tuple(change[::-1] if direction == "backward" else change)
    )


def _change(before: Matrix, after: Matrix) -> list[float]:
    difference = np.linalg.norm(after - before, axis=1)
    sizes = np.linalg.norm(after, axis=1) + np.linalg.norm(before, axis=1)
    return [float(d / s) if s else 0.0 for d, s in zip(difference, sizes, strict=True)]


def _shape(model: RecurrentSeq2seq) -> RecurrentShape:
    config = model.config
    return RecurrentShape(
        kind=config.kind,
        cell=config.cell,
        layers=config.layers,
        decoder_layers=model.decoder.recurrent.layers,
        embedding=config.embedding,
        hidden=config.hidden,
        attention=config.attention,
        vocabulary=model.vocabulary,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )
