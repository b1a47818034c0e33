"""Many requests: batches of like length under a token budget, results in the order of input."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from peluche.generation.beam import BeamStep, beam_search
from peluche.generation.config import DecodingConfig
from peluche.generation.contrastive import contrastive_search
from peluche.generation.decoder import Decoder
from peluche.generation.search import Hypothesis, Request, greedy_search, sample
from peluche.memory import SHORTER, InPieces

# Batches that each worker gets at least, where there are that many tokens: for even loads.
SHARES = 2
# Under this many padded source tokens × hypotheses, matrix products lose more than workers gain.
LEAST_TOKENS = 512


def generate(
    decoder: Decoder,
    requests: Sequence[Request],
    config: DecodingConfig,
    observe: Callable[[BeamStep], None] | None = None,
    *,
    scores: bool = True,
) -> list[list[Hypothesis]]:
    """Decode all requests; best hypotheses first, in the order of the requests.

    On a CPU, batches are spread over torch's threads, if the decoder allows it. That never waits
    at every operation for the slowest thread, as threads within an operation do.

    Args:
        observe: sees every step of a beam search, batch after batch.
        scores: without them greedy search is faster, and its scores are NaN.
    """

    in_pieces = InPieces("a text", SHORTER)

    def search(rows: list[int]) -> list[list[Hypothesis]]:
        return [one for _, found in in_pieces.of(rows, searched) for one in found]

    def searched(rows: list[int]) -> list[list[Hypothesis]]:
        batch = [requests[row] for row in rows]
        with torch.inference_mode():
            if config.kind == "greedy":
                return greedy_search(decoder, batch, config, scores=scores)
            if config.kind == "sample":
                return sample(decoder, batch, config)
            if config.kind == "contrastive":
                return contrastive_search(decoder, batch, config)
            return beam_search(decoder, batch, config, observe)

    lengths = [len(request.source) for request in requests]
    workers = torch.get_num_threads() if decoder.parallel and observe is None else 1
    share = sum(lengths) * config.rows // (SHARES * workers)
    tokens = min(config.batch_tokens, max(share, LEAST_TOKENS) if workers > 1 else sys.maxsize)
    plan = batches(lengths, tokens // config.rows)
    results: list[list[Hypothesis]] = [[] for _ in requests]
    for rows, found in zip(plan, spread(search, plan, workers), strict=True):
        for row, result in zip(rows, found, strict=True):
            results[row] = result
    return results


def spread(
    work: Callable[[list[int]], list[list[Hypothesis]]], items: Sequence[list[int]], workers: int
) -> list[list[list[Hypothesis]]]:
    """`[work(item) for item in items]`, by threads that share torch's threads between them."""
    threads = torch.get_num_threads()
    workers = min(workers, len(items))
    if workers <= 1:
        return [work(item) for item in items]
    pool = ThreadPoolExecutor(
        workers, initializer=torch.set_num_threads, initargs=(threads // workers,)
    )
    try:
        return list(pool.map(work, items))
    finally:
        pool.shutdown(cancel_futures=True)
        # The number is each thread's own, but new threads start with the one set last.
        torch.set_num_threads(threads)


def batches(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Row numbers, longest first, cut so that rows × longest row stays within `tokens`.

    A row that is longer by itself is a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    cut, start = [], 0
    while start < len(order):
        size = max(1, tokens // max(1, lengths[order[start]]))
        cut.append(order[start : start + size])
        start += size
    return cut
