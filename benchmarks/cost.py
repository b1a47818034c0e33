"""Cost as the work grows: training tokens/s and memory by sentence length and vocabulary.

    python benchmarks/cost.py --picture docs/images/cost.svg

Each point is a process of its own: steps on random tokens, a fixed number of them per batch.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from side_by_side import compete, table

LENGTHS = [8, 16, 32, 64, 128, 256, 512, 1024]
VOCABULARIES = [1000, 2000, 4000, 8000, 16000, 32000, 64000]


def steps(options: Mapping[str, Any]) -> Callable[[], Mapping[str, float]]:
    """Forward, backward and update on one batch of random sentences."""
    import torch

    from peluche.data.batching import TranslationBatch
    from peluche.models.encoder_decoder import EncoderDecoderConfig
    from peluche.nn.machine import tune_allocator
    from peluche.objectives.translation import TranslationConfig
    from peluche.training.optimizers import OptimizerConfig

    tune_allocator()
    torch.manual_seed(0)
    length, vocabulary = options["length"], options["vocabulary"]
    model = EncoderDecoderConfig(d_model=256, layers=3, d_ff=1024).build(vocabulary)
    optimizer = OptimizerConfig().build(model)
    objective = TranslationConfig().build()
    rows = max(1, options["tokens"] // length)
    tokens = torch.randint(4, vocabulary, (rows, length))
    valid = torch.ones(rows, length, dtype=torch.bool)
    batch = TranslationBatch(tokens, valid, tokens, tokens, valid)

    def run() -> Mapping[str, float]:
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        term = objective(model, batch).terms["loss"]
        (term.total / term.count).backward()
        optimizer.step()
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "rate": batch.target_tokens / seconds}

    return run


def _preload() -> None:
    import peluche.recipes.train  # noqa: F401


steps.preload = _preload  # type: ignore[attr-defined]


def measure(axis: str, values: list[int], options: dict[str, Any]) -> list[tuple[float, float]]:
    """(tokens/s, memory over imports in MiB) at each value."""
    found = []
    for value in values:
        rounds = compete({"peluche": steps}, {**options, axis: value}, options["rounds"])["peluche"]
        found.append((rounds.median("rate"), rounds.memory))
    return found


def exponent(values: list[int], costs: list[float]) -> float:
    """The slope of log cost against log value over the last four points."""
    return float(np.polyfit(np.log(values[-4:]), np.log(costs[-4:]), 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--picture", type=Path)
    options = vars(parser.parse_args())
    options |= {"length": 32, "vocabulary": 8000}

    from peluche.nn.machine import describe_machine

    print(describe_machine())
    series = {}
    for axis, values in (("length", LENGTHS), ("vocabulary", VOCABULARIES)):
        found = measure(axis, values, options)
        rates, memory = ([row[i] for row in found] for i in range(2))
        seconds = [1 / rate for rate in rates]
        series[axis] = (values, rates, memory)
        rows = [[axis, "target tokens/s", "memory MiB"]]
        rows += [
            [f"{value:,}", f"{rate:,.0f}", f"{size:,.0f}"]
            for value, rate, size in zip(values, rates, memory, strict=True)
        ]
        print(table(rows))
        print(
            f"over the last four points, time per token grows as {axis}^"
            f"{exponent(values, seconds):.2f}, memory as {axis}^{exponent(values, memory):.2f}\n"
        )
    if options["picture"]:
        draw(series, options["picture"])


def draw(series: Mapping[str, tuple[list[int], list[float], list[float]]], path: Path) -> None:
    """Tokens/s and memory from zero on, the same scale in a row."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(9, 6), sharey="row", constrained_layout=True)
    for column, (axis, (values, rates, memory)) in enumerate(series.items()):
        for row, (label, ys) in enumerate((("target tokens/s", rates), ("memory, MiB", memory))):
            plot = axes[row][column]
            plot.semilogx(values, ys, marker="o", color="#3b6fb6")
            plot.set_xlabel("sentence length in tokens" if axis == "length" else "vocabulary")
            plot.set_ylabel(label)
            plot.yaxis.set_major_formatter("{x:,.0f}")
            plot.set_xticks(values, [f"{v:,}" for v in values], rotation=45)
            plot.minorticks_off()
            plot.grid(alpha=0.3)
    for left in axes[:, 0]:
        left.set_ylim(bottom=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


if __name__ == "__main__":
    main()
