"""Many requests: batches of like length under a token budget, results in the order of input."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from peluche.generation.beam import BeamStep, beam_search
from peluche.generation.config import DecodingConfig
from peluche.generation.decoder import Decoder
from peluche.generation.search import Hypothesis, Request, greedy_search, sample


def generate(
    decoder: Decoder,
    requests: Sequence[Request],
    config: DecodingConfig,
    observe: Callable[[BeamStep], None] | None = None,
    *,
    scores: bool = True,
) -> list[list[Hypothesis]]:
    """Decode all requests; best hypotheses first, in the order of the requests.

    Args:
        observe: sees every step of a beam search, batch after batch.
        scores: without them greedy search is faster, and its scores are NaN.
    """
    results: list[list[Hypothesis]] = [[] for _ in requests]
    lengths = [len(request.source) for request in requests]
    with torch.inference_mode():
        for rows in batches(lengths, config.batch_tokens // config.rows):
            batch = [requests[row] for row in rows]
            if config.kind == "greedy":
                found = greedy_search(decoder, batch, config, scores=scores)
            elif config.kind == "sample":
                found = sample(decoder, batch, config)
            else:
                found = beam_search(decoder, batch, config, observe)
            for row, result in zip(rows, found, strict=True):
                results[row] = result
    return results


def batches(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Row numbers, longest first, cut so that rows × longest row stays within `tokens`.

    A row that is longer by itself is a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    start = 0
    while start < len(order):
        size = max(1, tokens // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size
