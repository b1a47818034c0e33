"""What choosing tokens costs, by parameters and rows.

    OMP_NUM_THREADS=1 python benchmarks/sampling.py

Milliseconds of processor time for one token of each row, the best of many rounds, with logits like
those of a language model: a few likely tokens, many unlikely ones.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch

from peluche.generation.requests import GenerationRequest
from peluche.generation.sampler import Sampler
from peluche.nn.machine import tune_allocator
from peluche.text.tokenizer import SpecialIds

KINDS: dict[str, dict[str, Any]] = {
    "temperature 0": {"temperature": 0},
    "temperature 0.7": {"temperature": 0.7},
    "top_k 50": {"temperature": 0.7, "top_k": 50},
    "top_k 50, top_p 0.9": {"temperature": 0.7, "top_k": 50, "top_p": 0.9},
    "top_p 0.9": {"temperature": 0.7, "top_p": 0.9},
    "top_p 0.9, temperature 2": {"temperature": 2, "top_p": 0.9},
    "min_p 0.05": {"temperature": 0.7, "min_p": 0.05},
    "typical_p 0.9": {"temperature": 0.7, "typical_p": 0.9},
    "all penalties": {
        "temperature": 0,
        "repetition_penalty": 1.1,
        "presence_penalty": 0.2,
        "frequency_penalty": 0.2,
    },
}


def seconds(kind: dict[str, Any], logits: torch.Tensor, rounds: int) -> float:
    """Of one choice."""
    rows, vocabulary = logits.shape
    sampler = Sampler(SpecialIds(-1, -1, -1, 0), vocabulary)
    for key in range(rows):
        fields = {"tokens": range(500), "max_tokens": 1, "sampling": kind, "stream": key}
        sampler.add(key, GenerationRequest.parse(fields))
    best = float("inf")
    for _ in range(rounds):
        started = time.thread_time()
        sampler.choose(range(rows), logits)
        best = min(best, time.thread_time() - started)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocabulary", type=int, default=49152)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    tune_allocator()
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(32, options.vocabulary, generator=generator) * 2
    # Zipf's law: the r-th likeliest token falls behind the first by 2·log r.
    logits -= 2 * torch.arange(1, options.vocabulary + 1).log()
    sizes = [1, 8, 32]
    print(f"| ms for | {' | '.join(f'{rows} rows' for rows in sizes)} |")
    print("|---|" + "---|" * len(sizes))
    with torch.inference_mode():
        for name, kind in KINDS.items():
            found = [seconds(kind, logits[:rows], options.rounds) * 1e3 for rows in sizes]
            print(f"| {name} | {' | '.join(f'{value:.2f}' for value in found)} |")


if __name__ == "__main__":
    main()
