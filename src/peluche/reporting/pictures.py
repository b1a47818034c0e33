"""Heat maps of a sentence's way through a model, as PNG and SVG files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from peluche.reporting.explain_recurrent import CarriedLayer, RecurrentExplanation
from peluche.reporting.explanation import Explanation, Head, Matrix, Stack, Token
from peluche.reporting.figures import SIGNED, WEIGHTS, save_figures

HEADS_ACROSS = 4


def write_pictures(explanation: Explanation | RecurrentExplanation, folder: Path) -> list[Path]:
    """Write every picture of `draw_pictures` as PNG and SVG; returns the files."""
    return save_figures(draw_pictures(explanation), folder)


def draw_pictures(
    explanation: Explanation | RecurrentExplanation,
) -> Iterator[tuple[str, Figure]]:
    """Name and figure of each: the encoder's input, attention per layer, and the alignment.

    Of a recurrent model: what each layer carries, and the alignment if there is attention.
    """
    if isinstance(explanation, RecurrentExplanation):
        yield from _draw_recurrent(explanation)
        return
    encoder, decoder = explanation.encoder, explanation.decoder
    yield "embedding-and-position", _draw_input(encoder)
    for number, layer in enumerate(encoder.layers, start=1):
        heads = layer.self_attention
        title = f"Encoder self-attention, layer {number}"
        figure = _draw_heads(title, heads, encoder.tokens, encoder.tokens)
        yield f"encoder-layer-{number}", figure
    for number, layer in enumerate(decoder.layers, start=1):
        heads = layer.self_attention
        title = f"Masked self-attention, layer {number}"
        figure = _draw_heads(title, heads, decoder.tokens, decoder.tokens)
        yield f"decoder-layer-{number}-self", figure
        title = f"Cross-attention, layer {number}"
        figure = _draw_heads(title, layer.cross_attention or (), decoder.tokens, encoder.tokens)
        yield f"decoder-layer-{number}-cross", figure
    yield (
        "alignment",
        _draw_panels(
            "Cross-attention between words, mean of heads",
            {f"layer {n}": matrix for n, matrix in enumerate(explanation.alignment, start=1)},
            explanation.target.words,
            explanation.source.words,
        ),
    )


def _draw_recurrent(explanation: RecurrentExplanation) -> Iterator[tuple[str, Figure]]:
    sides = (
        ("encoder", explanation.encoder, explanation.source.tokens),
        ("decoder", explanation.decoder, explanation.written),
    )
    for side, layers, tokens in sides:
        for layer in layers:
            title = f"{side.capitalize()}, layer {layer.layer + 1}, {layer.direction}"
            yield (
                f"{side}-layer-{layer.layer + 1}-{layer.direction}",
                _draw_signals(title, layer, [token.text for token in tokens]),
            )
    if explanation.alignment:
        yield (
            "alignment",
            _draw_panels(
                "Attention between words",
                {explanation.model.attention: explanation.alignment[0]},
                explanation.target.words,
                explanation.source.words,
            ),
        )


def _draw_signals(title: str, layer: CarriedLayer, names: Sequence[str]) -> Figure:
    """State and gates of a layer, tokens down and units across."""
    count = len(layer.signals)
    figure = Figure((9, (0.7 + 0.2 * len(names)) * count), layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(count, squeeze=False)
    for axes, signal in zip(grid.flat, layer.signals, strict=True):
        limit = 1.0 if signal.gate else max(float(np.abs(signal.values).max()), 1e-9)
        image = axes.imshow(
            signal.values,
            cmap=WEIGHTS if signal.gate else SIGNED,
            vmin=0 if signal.gate else -limit,
            vmax=limit,
            aspect="auto",
            interpolation="nearest",
        )
        axes.set_title(signal.name + " gate" * signal.gate, loc="left", fontsize=10)
        _name_rows(axes, names)
        figure.colorbar(image, ax=axes)
    axes.set_xlabel("unit")
    return figure


def _draw_input(stack: Stack) -> Figure:
    parts = {"Embedding, times √d": stack.embedding}
    if stack.positions is not None:
        parts |= {"Position": stack.positions, "Sum": stack.input}
    if stack.turns is not None:
        parts["Position: cosine of the angle that turns each pair of a head's features"] = (
            stack.turns
        )
    figure = Figure((9, (0.7 + 0.2 * len(stack.tokens)) * len(parts)), layout="constrained")
    grid = figure.subplots(len(parts), squeeze=False)
    limit = max(float(np.abs(matrix).max()) for matrix in parts.values())
    for axes, (title, matrix) in zip(grid.flat, parts.items(), strict=True):
        image = axes.imshow(
            matrix, cmap=SIGNED, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest"
        )
        axes.set_title(title, loc="left", fontsize=10)
        _name_rows(axes, [token.text for token in stack.tokens])
    axes.set_xlabel("feature")
    figure.colorbar(image, ax=grid, shrink=0.5, aspect=30)
    return figure


def _draw_heads(
    title: str, heads: Sequence[Head], rows: Sequence[Token], columns: Sequence[Token]
) -> Figure:
    return _draw_panels(
        title,
        {f"head {number}": head.weights for number, head in enumerate(heads, start=1)},
        [token.text for token in rows],
        [token.text for token in columns],
    )


def _draw_panels(
    title: str, panels: dict[str, Matrix], rows: Sequence[str], columns: Sequence[str]
) -> Figure:
    """Matrices of weights with the same rows and columns, side by side."""
    across = min(HEADS_ACROSS, len(panels))
    down = -(-len(panels) // across)
    width, height = 1.0 + 0.2 * len(columns), 1.4 + 0.2 * len(rows)
    figure = Figure((width * across + 1.2, height * down + 0.4), layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for number, (name, weights) in enumerate(panels.items()):
        axes = grid.flat[number]
        image = _draw_weights(axes, weights, columns)
        _name_rows(axes, rows if number % across == 0 else [])
        axes.set_title(name, fontsize=9)
    figure.colorbar(image, ax=grid, shrink=0.7, label="weight")
    return figure


def _draw_weights(axes: Axes, weights: Matrix, columns: Sequence[str]) -> AxesImage:
    axes.set_xticks(range(len(columns)), columns, rotation="vertical", fontsize=8, parse_math=False)
    axes.tick_params(length=0)
    return axes.imshow(weights, cmap=WEIGHTS, vmin=0, vmax=1, interpolation="nearest")


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    # A dollar sign in a token is a dollar sign, not a formula.
    axes.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    axes.tick_params(axis="y", length=0)
