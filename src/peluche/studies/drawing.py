"""Lines and axes that the pictures of all studies share."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

COLOURS = ("#9a9da3", "#b0702c", "#3f96aa", "#1d2f63")
MARKS = ("o", "s", "^", "D")


def colour(number: int) -> str:
    """Of the line with this number; they begin again where there are more lines than colours."""
    return COLOURS[number % len(COLOURS)]


def draw_line(
    axes: Axes,
    number: int,
    label: str,
    points: Sequence[tuple[float, float]],
    bounds: Sequence[tuple[float, float]] = (),
) -> None:
    """A line with marks, and a shade between `bounds`, one (low, high) a point, if there are any.

    Args:
        number: of the line in its picture, which says its colour and marks.
    """
    xs, ys = zip(*points, strict=True)
    mark = MARKS[number % len(MARKS)]
    axes.plot(xs, ys, marker=mark, color=colour(number), label=label)
    if bounds:
        low, high = zip(*bounds, strict=True)
        axes.fill_between(xs, low, high, color=colour(number), alpha=0.15, linewidth=0)


def tidy(axes: Axes) -> None:
    """No frame above and to the right; lines of the grid across."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e2ded5")
