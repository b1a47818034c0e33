"""The coordinate check of muP: what a few steps move, at several widths, with it and without."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from pydantic import Field

from peluche.config import Config
from peluche.models.decoder import Decoder, DecoderConfig
from peluche.reporting.article import Picture, Section, Table, write_article
from peluche.training.optimizers import OptimizerConfig

WITH, WITHOUT = "muP", "without"
VOCABULARY, HEADS, LAYERS, ROWS, LENGTH = 64, 4, 2, 4, 16


class CoordinatesConfig(Config):
    """What is tried.

    Attributes:
        widths: of the models; the first is the base.
        steps: of Adam on one batch of random tokens.
        lr: of the base.
    """

    widths: tuple[int, ...] = Field((32, 64, 128, 256, 512), min_length=2)
    steps: int = Field(4, gt=0)
    lr: float = Field(5e-3, gt=0)
    seeds: int = Field(3, gt=0)

    def model(self, width: int, mup: bool) -> Decoder:
        """A decoder of this width, freshly initialised."""
        base = self.widths[0]
        scale = {"d_model": base, "head_width": base // HEADS} if mup else None
        sizes = {"d_model": width, "d_ff": 2 * width, "layers": LAYERS, "heads": HEADS}
        parts = {"bias": False, "dropout": 0.0, "mup": scale}
        return DecoderConfig.parse({**sizes, **parts}).build(VOCABULARY)


def study_coordinates(config: CoordinatesConfig) -> dict[str, Any]:
    """Root mean square of what the steps change of the logits, by width (Yang et al. 2022, §D.1).

    With muP it does not follow the width; without, wide models move further at one rate.
    """
    moved = {
        name: [
            sum(_moved(config, width, name == WITH, seed) for seed in range(config.seeds))
            / config.seeds
            for width in config.widths
        ]
        for name in (WITH, WITHOUT)
    }
    return {"config": config.model_dump(mode="json"), "moved": moved}


def _moved(config: CoordinatesConfig, width: int, mup: bool, seed: int) -> float:
    torch.manual_seed(seed)
    model = config.model(width, mup)
    optimizer = OptimizerConfig(kind="adam", lr=config.lr).build(model)
    tokens = torch.randint(VOCABULARY, (ROWS, LENGTH + 1))
    with torch.no_grad():
        before = model.logits(model.hidden(tokens[:, :-1]))
    for _ in range(config.steps):
        hidden = model.hidden(tokens[:, :-1]).flatten(0, 1)
        loss = model.token_loss(hidden, tokens[:, 1:].flatten()).loss / len(hidden)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        change = model.logits(model.hidden(tokens[:, :-1])) - before
    return float(change.square().mean().sqrt())


def write_coordinates(folder: Path, found: Mapping[str, Any]) -> Path:
    """Write the page, the picture and the numbers that `study_coordinates` gave."""
    config, moved = found["config"], found["moved"]
    widths = config["widths"]
    rows = [[name, *(f"{value:.3f}" for value in values)] for name, values in moved.items()]
    section = Section(
        "How far logits move",
        [
            f"Root mean square of what {config['steps']} steps of Adam at a rate of "
            f"{config['lr']:g} change of the logits, the mean of {config['seeds']} seeds. A rate "
            "that suits one width suits all where the line is flat."
        ],
        Table(["width", *map(str, widths)], rows),
        [Picture("coordinates", "Change of logits by width, both logarithmic.", _draw(found))],
    )
    lead = "What a width changes of a step, with maximal update parametrisation and without."
    return write_article(folder, "Coordinate check", lead, [section], found)


def _draw(found: Mapping[str, Any]) -> Figure:
    figure = Figure((7, 3.6), layout="constrained")
    axes = figure.subplots()
    widths = found["config"]["widths"]
    for (name, values), colour in zip(found["moved"].items(), ("#1d2f63", "#b0702c"), strict=True):
        axes.plot(widths, values, marker="o", color=colour, label=name)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.set_xlabel("width")
    axes.set_ylabel("change of logits")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure
