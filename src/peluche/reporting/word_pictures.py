"""Pictures of word vectors: one-hot against learned similarity, and a map."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from peluche.reporting.explain_words import WordExplanation
from peluche.reporting.figures import SIGNED


def draw_word_pictures(explanation: WordExplanation) -> Iterator[tuple[str, Figure]]:
    """Name and figure of each."""
    yield "similarity", draw_similarity(explanation)
    yield "map", draw_map(explanation)


def draw_similarity(explanation: WordExplanation) -> Figure:
    """Cosines of one-hot vectors, all at right angles, and of the learned ones."""
    names = [word.replace("_", " ") for word in explanation.words]
    size = 1.6 + 0.45 * len(names)
    figure = Figure((2 * size, size), layout="constrained")
    grid = figure.subplots(1, 2)
    panels = (("one-hot", explanation.one_hot), ("learned", explanation.learned))
    for axes, (title, matrix) in zip(grid, panels, strict=True):
        image = axes.imshow(matrix, cmap=SIGNED, vmin=-1, vmax=1)
        axes.set_title(title, fontsize=10)
        axes.set_xticks(range(len(names)), names, rotation="vertical", parse_math=False)
        axes.set_yticks(range(len(names)), names, parse_math=False)
        axes.tick_params(length=0, labelsize=8)
        if len(names) <= 8:
            _write_values(axes, matrix.tolist())
    figure.colorbar(image, ax=grid, shrink=0.7, label="cosine")
    return figure


def _write_values(axes: Axes, rows: list[list[float]]) -> None:
    for row, values in enumerate(rows):
        for column, value in enumerate(values):
            colour = "white" if abs(value) > 0.6 else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, size=7)


def draw_map(explanation: WordExplanation) -> Figure:
    """The words and their neighbours, seen from where they differ most."""
    figure = Figure((8, 6), layout="constrained")
    axes = figure.subplots()
    asked = set(explanation.words)
    for word, (x, y) in zip(explanation.mapped, explanation.places.tolist(), strict=True):
        colour = "#7c3406" if word in asked else "#4483b5"
        axes.plot(x, y, "o", color=colour, markersize=6 if word in asked else 3)
        axes.annotate(
            word.replace("_", " "),
            (x, y),
            textcoords="offset points",
            xytext=(4, 3),
            color=colour,
            fontsize=10 if word in asked else 7,
            parse_math=False,
        )
    axes.set_xlabel("first principal component")
    axes.set_ylabel("second")
    axes.margins(0.12)
    return figure
