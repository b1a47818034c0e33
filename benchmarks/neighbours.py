"""Neighbour search: recall of the ten nearest against time per query, for each kind of index.

python benchmarks/neighbours.py runs/word2vec-imdb --picture neighbours.svg

The vectors of a run, or a file of vectors, are searched for the neighbours of some of themselves,
one query at a time, on one thread. Times are medians over rounds in which the indexes take turns.
"""

from __future__ import annotations

import peluche  # noqa: F401, before torch, whose threads it sets up

# isort: split
import argparse
import statistics
import time
from pathlib import Path

import faiss
import numpy as np
import torch
from matplotlib.figure import Figure

from peluche.nn.machine import describe_machine
from peluche.retrieval.neighbours import (
    ExactConfig,
    HnswConfig,
    IndexConfig,
    IvfConfig,
    LshConfig,
    recall,
)
from peluche.tasks.load import load_vectors
from side_by_side import table

CHOICES: list[IndexConfig] = [
    ExactConfig(),
    *(LshConfig(tables=tables, bits=10) for tables in (4, 16, 64)),
    *(LshConfig(tables=tables, bits=14) for tables in (16, 64)),
    *(HnswConfig(width=width) for width in (10, 20, 40, 80, 160)),
    *(IvfConfig(cells=160, probes=probes) for probes in (1, 2, 4, 8, 16, 32)),
]


def named(config: IndexConfig) -> str:
    """The kind, and what differs from one choice to another."""
    keys = {"lsh": ("tables", "bits"), "hnsw": ("width",), "ivf": ("probes",)}.get(config.kind, ())
    return " ".join([config.kind, *(f"{key} {getattr(config, key)}" for key in keys)])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("vectors", help="a run of word vectors, or a file of them")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    vectors = load_vectors(options.vectors).vectors.numpy()
    chosen = np.random.default_rng(0).choice(len(vectors), options.queries, replace=False)
    queries = vectors[chosen]
    exact = ExactConfig().build(vectors).search(queries, 10)
    indexes, recalls, built = {}, {}, {}
    for config in CHOICES:
        started = time.perf_counter()
        index = config.build(vectors)
        built[config] = time.perf_counter() - started
        indexes[config] = index
        recalls[config] = recall(index.search(queries, 10), exact)
    times: dict[IndexConfig, list[float]] = {config: [] for config in CHOICES}
    for _ in range(options.rounds):
        for config, index in indexes.items():
            started = time.perf_counter()
            for query in queries:
                index.search(query[None], 10)
            times[config].append((time.perf_counter() - started) / len(queries))
    print(describe_machine())
    print(
        f"{len(vectors):,} vectors of {vectors.shape[1]}, {options.queries} queries, one at a time"
    )
    rows = [["index", "recall of 10", "ms a query", "s to build"]]
    for config in CHOICES:
        median = 1000 * statistics.median(times[config])
        rows.append(
            [named(config), f"{recalls[config]:.3f}", f"{median:.3f}", f"{built[config]:.2f}"]
        )
    print(table(rows))
    if options.picture is not None:
        draw(options.picture, recalls, times)


def draw(path: Path, recalls: dict, times: dict) -> None:
    """Recall against time, a line per kind of index."""
    figure = Figure((7, 4.5), layout="constrained")
    axes = figure.subplots()
    for kind in ("exact", "lsh", "hnsw", "ivf"):
        points = sorted(
            (1000 * statistics.median(times[config]), recalls[config])
            for config in CHOICES
            if config.kind == kind
        )
        axes.plot(*zip(*points, strict=True), "o-" if kind != "lsh" else "o", label=kind)
    axes.set_xscale("log")
    axes.set_xlabel("ms per query")
    axes.set_ylabel("recall of the ten nearest")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


if __name__ == "__main__":
    main()
