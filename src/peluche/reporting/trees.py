"""Dependency trees as arcs over words, constituency trees as branches above them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Line

from peluche.data.brackets import Tree
from peluche.reporting.figures import save_figure
from peluche.tasks.parse import ConstituencyTree, DependencyTree

INK, MARK, FAINT = "#1d2f63", "#1f6391", "#7c7a74"
ROOT = 0


def draw_tree(tree: DependencyTree | ConstituencyTree, path: Path) -> None:
    """Draw a tree into a .svg, .png or .pdf file.

    Raises:
        ConfigError: the file's suffix is something else.
    """
    figure = _draw_arcs(tree) if isinstance(tree, DependencyTree) else _draw_branches(tree)
    save_figure(figure, path)


def _draw_arcs(tree: DependencyTree) -> Figure:
    places = _places(tree.tokens, [*tree.tags, *tree.relations])
    levels = arc_levels(tree.heads)
    top = max(levels) + 1.2
    axes, figure = _canvas(places[-1] + 1, top + 1.0)
    for place, (x, token, tag) in enumerate(zip(places, tree.tokens, tree.tags, strict=True)):
        axes.text(x, -0.15, token, ha="center", va="top", color=INK, fontsize=11)
        axes.text(x, -0.6, tag, ha="center", va="top", color=FAINT, fontsize=8)
        head, relation = tree.heads[place], tree.relations[place]
        if head == ROOT:
            _arrow(axes, [(x, top), (x, 0.0)])
            axes.text(x, top + 0.05, relation, ha="center", va="bottom", color=MARK, fontsize=8)
            continue
        start, height = places[head - 1], float(levels[place])
        # Arcs leave a head beside its middle, so that those to both sides stay apart.
        start += 0.12 if x > start else -0.12
        bend = 0.25 if x > start else -0.25
        _arrow(
            axes,
            [(start, 0.0), (start, height), (start + bend, height)],
            [(x - bend, height), (x, height), (x, 0.0)],
        )
        _label(axes, (start + x) / 2, height, relation, MARK, size=8)
    axes.set_ylim(-1.0, top + 0.4)
    return figure


def arc_levels(heads: Sequence[int]) -> list[int]:
    """How high each token's arc goes: above every arc that it spans; 0 for the root's.

    Two arcs of one height share no more than an end.
    """
    spans = [(min(place, head), max(place, head)) for place, head in enumerate(heads, 1)]
    levels = [0] * len(heads)
    done: list[int] = []
    for number in sorted(range(len(heads)), key=lambda n: spans[n][1] - spans[n][0]):
        if heads[number] == ROOT:
            continue
        low, high = spans[number]
        below = [
            levels[other] for other in done if spans[other][0] < high and spans[other][1] > low
        ]
        levels[number] = max(below, default=0) + 1
        done.append(number)
    return levels


def _draw_branches(tree: ConstituencyTree) -> Figure:
    leaves = tree.tree.leaves()
    places = _places([word for word, _ in leaves], [tag for _, tag in leaves])
    height = _height(tree.tree)
    axes, figure = _canvas(places[-1] + 1, height + 1.0)
    used = iter(places)

    def branch(node: Tree) -> tuple[float, float]:
        if node.word is not None:
            x = next(used)
            axes.text(x, -0.55, node.word, ha="center", va="top", color=INK, fontsize=11)
            _label(axes, x, 0.0, node.label, FAINT)
            return x, 0.0
        ends = [branch(child) for child in node.children if isinstance(child, Tree)]
        x, y = (ends[0][0] + ends[-1][0]) / 2, float(_height(node))
        # Straight down and across: slanted lines would run through the names of lower branches.
        bar = y - 0.4
        axes.plot([x, x], [y, bar], color=FAINT, linewidth=0.9, zorder=1)
        for end in ends:
            axes.plot([x, end[0], end[0]], [bar, bar, end[1]], color=FAINT, linewidth=0.9, zorder=1)
        _label(axes, x, y, node.label, MARK)
        return x, y

    branch(tree.tree)
    axes.set_ylim(-1.0, height + 0.4)
    return figure


def _height(tree: Tree) -> int:
    if tree.word is not None:
        return 0
    return 1 + max(_height(child) for child in tree.children if isinstance(child, Tree))


def _places(words: Sequence[str], others: Sequence[str]) -> list[float]:
    """Middles of columns wide enough for the words and for what stands beside them."""
    widths = [
        max(0.6, 0.13 * len(word), *(0.13 * len(other) for other in others[n :: len(words)]))
        for n, word in enumerate(words)
    ]
    middles, right = [], 0.5
    for width in widths:
        middles.append(right + width / 2)
        right += width + 0.15
    return middles


def _canvas(width: float, height: float) -> tuple[Axes, Figure]:
    figure = Figure((0.9 * width, 0.55 * height + 0.4))
    axes = figure.subplots()
    axes.set_xlim(0, width)
    axes.set_axis_off()
    return axes, figure


def _label(axes: Axes, x: float, y: float, text: str, color: str, size: int = 9) -> None:
    axes.text(
        x,
        y,
        text,
        ha="center",
        va="center",
        color=color,
        fontsize=size,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        zorder=2,
    )


def _arrow(axes: Axes, *curves: list[tuple[float, float]]) -> None:
    """Lines and quadratic curves, one after another, with a head at the end."""
    points: list[tuple[float, float]] = []
    codes: list[int] = []
    for curve in curves:
        kind = Line.CURVE3 if len(curve) == 3 else Line.LINETO
        codes += [int(Line.LINETO if points else Line.MOVETO), *[int(kind)] * (len(curve) - 1)]
        points += curve
    axes.add_patch(PathPatch(Line(points, codes), fill=False, edgecolor=FAINT, linewidth=0.9))
    axes.plot(*points[-1], marker="v", color=FAINT, markersize=4)
