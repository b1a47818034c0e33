"""Heat maps side by side, with tokens as names of their rows and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from peluche.reporting.explain_recurrent import CarriedLayer
from peluche.reporting.explanation import Matrix
from peluche.reporting.figures import SIGNED, WEIGHTS

HEADS_ACROSS = 4
# Inches; what is longer is drawn smaller.
MOST_WIDTH = 5.0


def draw_signals(title: str, layer: CarriedLayer, names: Sequence[str]) -> Figure:
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
        name_rows(axes, names)
        figure.colorbar(image, ax=axes)
    axes.set_xlabel("unit")
    return figure


def draw_panels(
    title: str, panels: Mapping[str, Matrix], rows: Sequence[str], columns: Sequence[str]
) -> Figure:
    """Matrices of weights with the same rows and columns, side by side."""
    across = min(HEADS_ACROSS, len(panels))
    down = -(-len(panels) // across)
    down_cells, across_cells = next(iter(panels.values())).shape
    width = min(MOST_WIDTH, 1.0 + 0.2 * across_cells)
    height = 1.4 + (width - 1.0) * down_cells / across_cells
    figure = Figure((width * across + 1.2, height * down + 0.4), layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for number, (name, weights) in enumerate(panels.items()):
        axes = grid.flat[number]
        image = _draw_weights(axes, weights, columns)
        name_rows(axes, rows if number % across == 0 else [])
        axes.set_title(name, fontsize=9)
    figure.colorbar(image, ax=grid, shrink=0.7, label="weight")
    return figure


def _draw_weights(axes: Axes, weights: Matrix, columns: Sequence[str]) -> AxesImage:
    axes.set_xticks(range(len(columns)), columns, rotation="vertical", fontsize=8, parse_math=False)
    axes.tick_params(length=0)
    return axes.imshow(weights, cmap=WEIGHTS, vmin=0, vmax=1, interpolation="nearest")


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    # A dollar sign in a token is a dollar sign, not a formula.
    axes.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    axes.tick_params(axis="y", length=0)
