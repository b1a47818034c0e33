"""What a classifier takes for what: a table of gold and predicted labels, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from peluche.errors import ConfigError
from peluche.metrics.base import Array
from peluche.metrics.classification import confusion_matrix
from peluche.reporting.figures import WEIGHTS, rendered, save_figure
from peluche.tasks.evaluation import Evaluation

# Beyond this many labels the numbers in the cells could not be read.
MOST_NUMBERED = 25


def draw_confusion(labels: Sequence[str], matrix: Array) -> Figure:
    """A cell per gold label (row) and predicted label (column).

    Colours are shares of the row, so that rare labels are seen as well as common ones; numbers are
    examples.

    Args:
        matrix: (C, C) counts, see `confusion_matrix`.
    """
    totals = matrix.sum(1, keepdims=True)
    shares = matrix / totals.clip(min=1)
    side = 0.5 * len(labels) if len(labels) <= MOST_NUMBERED else 0.2 * len(labels)
    figure = Figure((side + 2.4, side + 1.4), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap=WEIGHTS, vmin=0, vmax=1, interpolation="nearest")
    ticks = range(len(labels))
    # A dollar sign in a label is a dollar sign, not a formula.
    axes.set_xticks(ticks, labels, rotation="vertical", fontsize=8, parse_math=False)
    axes.set_yticks(ticks, labels, fontsize=8, parse_math=False)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("gold")
    if len(labels) <= MOST_NUMBERED:
        for row in ticks:
            for column in ticks:
                if count := int(matrix[row, column]):
                    colour = "white" if shares[row, column] > 0.5 else "black"
                    text = f"{count:,}"
                    axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the gold label")
    return figure


def write_confusion(evaluation: Evaluation, path: Path) -> Path:
    """Draw the confusions of an evaluation into a .png or .svg file; returns the path.

    Raises:
        ConfigError: the task does not classify, or the file's name ends otherwise.
    """
    if evaluation.labels is None:
        raise ConfigError(
            "a table of confusions is for classifiers", remedy="leave the picture out"
        )
    return save_figure(_drawn(evaluation.labels, evaluation.examples), path)


def confusion_svg(labels: Sequence[str], examples: Sequence[Mapping[str, str]]) -> bytes:
    """The picture of examples with "reference" and "output", as SVG."""
    return rendered(_drawn(labels, examples), "svg")


def _drawn(labels: Sequence[str], examples: Sequence[Mapping[str, str]]) -> Figure:
    said = [example["output"] for example in examples]
    gold = [example["reference"] for example in examples]
    return draw_confusion(labels, confusion_matrix(said, gold, labels))
