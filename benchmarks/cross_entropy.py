"""The fused projection and cross-entropy against the plain pair, forward and backward, in turn.

python benchmarks/cross_entropy.py
"""

from __future__ import annotations

import peluche  # noqa: F401, before torch, whose threads it sets up

# isort: split
import argparse
import statistics
import time
from collections.abc import Callable

import torch

from peluche.nn.losses import fused_cross_entropy, plain_cross_entropy
from peluche.nn.machine import describe_machine, tune_allocator
from side_by_side import table


def seconds(loss: Callable, width: int, vocabulary: int, rows: int) -> float:
    """One forward and backward pass on random numbers."""
    hidden = torch.randn(rows, width).mul_(0.5).requires_grad_()
    weight = torch.randn(vocabulary, width).mul_(width**-0.5).requires_grad_()
    labels = torch.randint(vocabulary, (rows,))
    started = time.perf_counter()
    loss(hidden, weight, labels, 0.1).loss.backward()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    tune_allocator()
    rows = [["width", "plain ms", "fused ms", "ratio"]]
    for width in (128, 256, 512):
        found: dict[str, list[float]] = {"plain": [], "fused": []}
        for _ in range(options.rounds):
            for name, loss in (("plain", plain_cross_entropy), ("fused", fused_cross_entropy)):
                found[name].append(seconds(loss, width, options.vocabulary, options.rows))
        plain, fused = (1000 * statistics.median(found[name]) for name in ("plain", "fused"))
        rows.append([str(width), f"{plain:.0f}", f"{fused:.0f}", f"{plain / fused:.2f}"])
    print(describe_machine())
    print(f"{options.rows} rows, {options.vocabulary} entries, label smoothing 0.1")
    print(table(rows))


if __name__ == "__main__":
    main()
