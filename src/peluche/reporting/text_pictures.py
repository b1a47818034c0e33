"""Pictures of a text's way through a language model or an encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from peluche.reporting.explain_recurrent import CarriedLayer
from peluche.reporting.figures import WEIGHTS
from peluche.reporting.panels import draw_panels, draw_signals, name_rows
from peluche.reporting.text_explanation import RoutedLayer, TextExplanation
from peluche.text.pipelines import MARK

# Tokens of which a picture writes the names, and tokens of a lens.
NAMED, LOOKED = 60, 24


def draw_text_pictures(explanation: TextExplanation) -> Iterator[tuple[str, Figure]]:
    """Name and figure of each: surprisal, attention or memory, the lens, and the experts."""
    names = [_visible(token.text) for token in explanation.tokens]
    shown = names if len(names) <= NAMED else []
    if explanation.score is not None:
        yield "surprisal", _draw_surprisal(explanation, shown)
    for layer in explanation.attention:
        heads = {f"head {one.head + 1}": one.weights for one in layer.heads}
        title = f"Self-attention, layer {layer.layer + 1}"
        yield f"attention-layer-{layer.layer + 1}", draw_panels(title, heads, shown, shown)
    for carried in explanation.carried:
        yield f"memory-layer-{carried.layer + 1}", _draw_memory(carried, names)
    if explanation.lens:
        yield "lens", _draw_lens(explanation, names)
    if explanation.routing:
        yield "experts", _draw_experts(explanation.routing, shown)


def _visible(text: str) -> str:
    return text.replace(" ", MARK).replace("\n", "↵").replace("\t", "⇥")


def _draw_surprisal(explanation: TextExplanation, names: Sequence[str]) -> Figure:
    assert explanation.score is not None
    values = [np.nan if value is None else value for value in explanation.surprisals]
    figure = Figure((max(4.0, min(12.0, 1 + 0.25 * len(values))), 2.6), layout="constrained")
    axes = figure.subplots()
    axes.bar(range(len(values)), values, color="#1f6391", width=0.9)
    axes.axhline(explanation.score.nll, color="#7c3406", linewidth=1)
    axes.set_title(f"Surprisal; the mean is {explanation.score.nll:.3f} nats", fontsize=11)
    axes.set_ylabel("nats")
    axes.margins(x=0.01)
    _name_columns(axes, names)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_memory(layer: CarriedLayer, names: Sequence[str]) -> Figure:
    return draw_signals(f"Layer {layer.layer + 1}", layer, names if len(names) <= NAMED else [])


def _draw_lens(explanation: TextExplanation, names: Sequence[str]) -> Figure:
    """The most probable token after each layer, at the last tokens of the text."""
    lens, first = explanation.lens, max(0, len(names) - LOOKED)
    matrix = np.stack([layer.probabilities[first:, 0] for layer in lens])
    figure = Figure((1.8 + 0.62 * matrix.shape[1], 1.2 + 0.26 * len(lens)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(matrix, cmap=WEIGHTS, vmin=0, vmax=1, aspect="auto")
    for row, layer in enumerate(lens):
        for column, number in enumerate(layer.best[first:, 0].tolist()):
            name = _visible(explanation.names.get(str(number), f"<{number}>"))
            colour = "white" if matrix[row, column] > 0.5 else "black"
            weight = "bold" if layer.rank[first + column] == 1 else "normal"
            axes.text(
                column,
                row,
                name[:10],
                ha="center",
                va="center",
                color=colour,
                size=7,
                weight=weight,
                parse_math=False,
            )
    name_rows(axes, [str(layer.layer) if layer.layer else "embedding" for layer in lens])
    _name_columns(axes, names[first:])
    axes.set_ylabel("layer")
    axes.set_title("Logit lens: the most probable token; bold where the text has it", fontsize=11)
    figure.colorbar(image, ax=axes, label="probability", shrink=0.8)
    return figure


def _draw_experts(layers: Sequence[RoutedLayer], names: Sequence[str]) -> Figure:
    """Gates, a panel a layer, tokens across and experts down; above each the loads."""
    tokens, experts = layers[0].gates.shape
    width = max(3.5, min(12.0, 1.5 + 0.25 * tokens))
    figure = Figure((width + 1.5, len(layers) * (0.8 + 0.2 * experts) + 1.0), layout="constrained")
    grid = figure.subplots(
        len(layers), 2, squeeze=False, width_ratios=[width, 1.2], sharex="col", sharey="row"
    )
    for (left, right), layer in zip(grid, layers, strict=True):
        image = left.imshow(
            layer.gates.T, cmap=WEIGHTS, vmin=0, vmax=1, aspect="auto", interpolation="nearest"
        )
        left.set_title(f"layer {layer.layer + 1}", loc="left", fontsize=9)
        name_rows(left, [str(number + 1) for number in range(experts)])
        left.set_ylabel("expert", fontsize=8)
        right.barh(range(experts), [100 * share for share in layer.load], color="#1f6391")
        right.axvline(100 / experts, color="#7c3406", linewidth=1)
        right.tick_params(labelsize=7)
        right.spines[["top", "right"]].set_visible(False)
    _name_columns(grid[-1][0], names)
    grid[-1][1].set_xlabel("load, %", fontsize=8)
    figure.colorbar(image, ax=grid, shrink=0.6, label="gate")
    figure.suptitle("Which expert takes which token", fontsize=11)
    return figure


def _name_columns(axes: Axes, names: Sequence[str]) -> None:
    axes.set_xticks(range(len(names)), names, rotation="vertical", fontsize=8, parse_math=False)
    axes.tick_params(axis="x", length=0)
