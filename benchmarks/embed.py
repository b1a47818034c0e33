"""Embeddings of sentences against sentence-transformers: sentences per second, equal weights.

python benchmarks/embed.py

Both read all-MiniLM-L6-v2 from the same folder and embed the same sentences in float32, in turn, in
processes of their own.
"""

from __future__ import annotations

import peluche  # noqa: F401, before torch, whose threads it sets up

# isort: split
import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any

from side_by_side import compete, table

MODEL = "all-minilm-l6-v2"


def sentences(count: int) -> list[str]:
    """English sentences of Multi30k's validation set, captions of some 13 words."""
    from peluche.data.sources import CatalogueSource

    source = CatalogueSource(name="multi30k", languages=("en", "fr"), split="validation")
    found = [pair.source for pair in source.read()]
    return (found * (count // len(found) + 1))[:count]


def timed(embed: Callable[[list[str]], Any], batch: int, texts: list[str]) -> dict[str, float]:
    """Sentences per second, `batch` at a call."""
    started = time.perf_counter()
    for start in range(0, len(texts), batch):
        embed(texts[start : start + batch])
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "rate": len(texts) / seconds}


def ours(options: Mapping[str, Any]) -> Callable[[], Mapping[str, float]]:
    from peluche.nn.machine import tune_allocator
    from peluche.tasks.load import load_embedder

    tune_allocator()
    embedder = load_embedder(MODEL)
    texts = sentences(options["sentences"])
    return lambda: timed(embedder.embed, options["batch"], texts)


def theirs(options: Mapping[str, Any]) -> Callable[[], Mapping[str, float]]:
    from sentence_transformers import SentenceTransformer

    from peluche.hub.model_catalogue import pull

    model = SentenceTransformer(str(pull(MODEL)), device="cpu")
    texts, batch = sentences(options["sentences"]), options["batch"]
    return lambda: timed(
        lambda some: model.encode(some, batch_size=batch, show_progress_bar=False), batch, texts
    )


def agreement(count: int = 64) -> float:
    """The smallest cosine between both libraries' vectors of a sentence."""
    from sentence_transformers import SentenceTransformer

    from peluche.hub.model_catalogue import pull
    from peluche.tasks.load import load_embedder

    texts = sentences(count)
    other = SentenceTransformer(str(pull(MODEL)), device="cpu").encode(texts)
    return float((load_embedder(MODEL).embed(texts).numpy() * other).sum(1).min())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = [["batch", "peluche, sentences/s", "sentence-transformers", "ratio", "memory, MiB"]]
    for batch, count in ((1, 200), (32, 1600)):
        results = compete(
            {"peluche": ours, "sentence-transformers": theirs},
            {"batch": batch, "sentences": count},
            options.rounds,
        )
        own, other = results.values()
        ratio = own.median("rate") / other.median("rate")
        memory = f"{own.memory:.0f} against {other.memory:.0f}"
        rates = [f"{one.median('rate'):,.0f}" for one in (own, other)]
        rows.append([str(batch), *rates, f"{ratio:.2f}", memory])
    print(table(rows))
    print(f"smallest cosine between both: {agreement():.7f}")


if __name__ == "__main__":
    main()
