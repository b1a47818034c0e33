"""Line charts as plain geometry, for a template to draw as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

WIDTH, HEIGHT = 440, 240
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 26
MOST_POINTS = 300

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A line to draw: points (x, y) in order of x; `dots` marks each of them."""

    label: str
    points: Sequence[Point]
    dots: bool = False


@dataclass(frozen=True)
class Tick:
    """A grid line: where it is, in units of the drawing, and what it says."""

    at: float
    label: str


@dataclass(frozen=True)
class DrawnLine:
    """A line as drawn.

    Attributes:
        path: the `d` of an SVG path.
        dots: (x, y, what it says) of each marked point.
        last: the last value, readable.
    """

    label: str
    path: str
    dots: tuple[tuple[float, float, str], ...]
    last: str


@dataclass(frozen=True)
class Chart:
    """A chart of `WIDTH` by `HEIGHT` units, y downwards as in SVG."""

    title: str
    note: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[DrawnLine, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def line_chart(
    title: str,
    lines: Iterable[Line],
    *,
    scale: Literal["linear", "log"] = "linear",
    y_range: tuple[float, float] | None = None,
    note: str = "",
) -> Chart | None:
    """A chart of lines over steps, x from 0; None if there is nothing to draw.

    Values that are not finite (and on a log scale not positive) are left out. Long lines without
    dots are thinned to means over neighbours.

    Args:
        y_range: at least this range of y is shown.
    """
    kept = [(line, _drawable(line, scale == "log")) for line in lines]
    kept = [(line, points) for line, points in kept if points]
    if not kept:
        return None
    last_x = max(points[-1][0] for _, points in kept) or 1.0
    values = [y for _, points in kept for _, y in points] + list(y_range or ())
    low, high = _padded(min(values), max(values), scale == "log", y_range)

    def place(point: Point) -> Point:
        share = (_level(point[1], scale) - _level(low, scale)) / (
            _level(high, scale) - _level(low, scale)
        )
        x = LEFT + point[0] / last_x * (WIDTH - LEFT - RIGHT)
        return round(x, 1), round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    y_values = _decades(low, high) if scale == "log" else _steps(low, high, 5)
    return Chart(
        title=title,
        note=note,
        x_ticks=tuple(Tick(place((x, low))[0], readable(x)) for x in _steps(0, last_x, 6)),
        y_ticks=tuple(Tick(place((0, y))[1], readable(y)) for y in y_values),
        lines=tuple(
            DrawnLine(
                label=line.label,
                path="M" + "L".join("{:g} {:g}".format(*place(point)) for point in points),
                dots=tuple(
                    (*place((x, y)), f"{line.label}, step {readable(x)}: {readable(y)}")
                    for x, y in points
                )
                if line.dots or len(points) == 1
                else (),
                last=readable(points[-1][1]),
            )
            for line, points in kept
        ),
    )


def readable(value: float) -> str:
    """A number for people: four digits of small ones, separators or M in large ones."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.4g}M"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _level(value: float, scale: str) -> float:
    return math.log(value) if scale == "log" else value


def _drawable(line: Line, positive: bool) -> list[Point]:
    points = [(x, y) for x, y in line.points if math.isfinite(y) and (y > 0 or not positive)]
    bunch = math.ceil(len(points) / MOST_POINTS)
    if line.dots or bunch <= 1:
        return points
    bunches = [points[start : start + bunch] for start in range(0, len(points), bunch)]
    return [(some[-1][0], math.fsum(y for _, y in some) / len(some)) for some in bunches]


def _padded(
    low: float, high: float, log: bool, fixed: tuple[float, float] | None
) -> tuple[float, float]:
    """The range with some room, except at an end that `y_range` fixes."""
    if log:
        factor = max(math.exp(0.05 * (math.log(high) - math.log(low))), 1.02)
        return low / factor, high * factor
    room = 0.05 * (high - low) or abs(high) * 0.1 or 1.0
    bottom = low if fixed and low == fixed[0] else low - room
    top = high if fixed and high == fixed[1] else high + room
    return bottom, top


def _steps(low: float, high: float, most: int) -> list[float]:
    """Round numbers 1, 2 or 5 times a power of ten apart, at most about `most` of them."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, or some of the powers; round numbers if those are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1, 2, 5) if math.log10(high) - math.log10(low) < 3 else (1,)
    powers = range(first, last + 1, math.ceil((last - first) / 8))
    values = [factor * 10.0**power for power in powers for factor in factors]
    inside = [value for value in values if low <= value <= high]
    return inside if len(inside) >= 3 else _steps(low, high, 5)
