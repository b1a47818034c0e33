"""The page of the memory study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from peluche.reporting.article import Picture, Section, Table, write_article
from peluche.studies.drawing import colour, draw_line, tidy

TITLES = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM", "attention": "attention"}


def write_memory(folder: Path, found: Mapping[str, Any]) -> Path:
    """Write the page, the pictures and the numbers that `study_memory` gave; returns the page."""
    config = found["config"]
    longest = max(config["lengths"])
    sections = [
        Section(
            "Vanishing gradients",
            [
                "How strongly the last state depends on the token that was read some time before: "
                "the norm of the derivative of one by the other. What a net cannot feel, it cannot "
                "learn from. A recurrent net multiplies by one more matrix for each token between; "
                "attention reaches every token in one step.",
                f"Sequences of {longest} tokens, before any training and after training on the "
                "task below.",
            ],
            _ratios(found["gradients"]),
            [
                Picture(
                    "gradients",
                    "Gradient norm by distance, on a logarithmic scale.",
                    _draw_gradients(found["gradients"]),
                )
            ],
        ),
        Section(
            "Recall",
            [
                f"A sequence begins with one of {config['symbols']} symbols, noise follows, and at "
                f"the end the net has to say which symbol it was. {config['steps']} steps of "
                f"{config['batch']} sequences for each net and length; the mean of "
                f"{config['seeds']} seeds. Chance is {100 / config['symbols']:.1f} %.",
            ],
            _recall(found["recall"]),
            [
                Picture(
                    "recall",
                    "Symbols recalled, in percent; the shade spans the seeds.",
                    _draw_recall(found["recall"], 100 / config["symbols"]),
                )
            ],
        ),
    ]
    lead = "What a net still knows of the first word when it reads the last."
    return write_article(folder, "Memory", lead, sections, found)


def _ratios(gradients: Mapping[str, Mapping[str, Sequence[float]]]) -> Table:
    rows = [
        [TITLES[net], *(f"{norms[-1] / norms[0]:.1e}" for norms in moments.values())]
        for net, moments in gradients.items()
    ]
    return Table(["first token's gradient ÷ last token's", "before", "after training"], rows)


def _recall(recall: Mapping[str, Mapping[str, Sequence[float]]]) -> Table:
    lengths = list(next(iter(recall.values())))
    rows = [
        [TITLES[net], *(f"{fmean(scores):.1f} %" for scores in by_length.values())]
        for net, by_length in recall.items()
    ]
    return Table(["length", *lengths], rows)


def _draw_gradients(gradients: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    figure = Figure((9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, moment, title in ((left, "before", "untrained"), (right, "after", "trained")):
        for number, (net, moments) in enumerate(gradients.items()):
            # A gradient that is zero in floating point has no place on a logarithmic scale.
            norms = [norm or float("nan") for norm in moments[moment]]
            axes.plot(norms, color=colour(number), label=TITLES[net])
        axes.set_yscale("log")
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("tokens back")
        tidy(axes)
    left.set_ylabel("gradient norm")
    left.legend(frameon=False)
    return figure


def _draw_recall(recall: Mapping[str, Mapping[str, Sequence[float]]], chance: float) -> Figure:
    figure = Figure((7, 3.6), layout="constrained")
    axes: Axes = figure.subplots()
    for number, (net, by_length) in enumerate(recall.items()):
        lengths = [int(length) for length in by_length]
        means = [fmean(scores) for scores in by_length.values()]
        bounds = [(min(scores), max(scores)) for scores in by_length.values()]
        draw_line(axes, number, TITLES[net], list(zip(lengths, means, strict=True)), bounds)
    axes.axhline(chance, color="#5f646d", linestyle=":", linewidth=1)
    axes.annotate("chance", (lengths[0], chance), xytext=(0, 3), textcoords="offset points")
    axes.set_xscale("log", base=2)
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.set_xlabel("tokens in the sequence")
    axes.set_ylabel("recalled, percent")
    axes.set_ylim(0, 103)
    tidy(axes)
    axes.legend(frameon=False)
    return figure
