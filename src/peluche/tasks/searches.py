"""Requests that are answered by a search over several texts, not by drawing token after token."""

from __future__ import annotations

from peluche.errors import DataError
from peluche.generation.batching import generate
from peluche.generation.config import DecodingConfig
from peluche.generation.search import Hypothesis, Request
from peluche.inference.engine import Engine
from peluche.inference.state_engine import StateEngine


def search(
    engine: Engine | StateEngine, tokens: list[int], max_tokens: int, config: DecodingConfig
) -> list[Hypothesis]:
    """What comes after a prompt, best first, by the engine's copy of the model.

    Raises:
        DataError: the search does not fit into the memory, or finds nothing.
        NumericsError: logits that are not numbers.
    """
    # After the last token, [EOS] is forced.
    request = Request(tokens, max_tokens + 1)
    with engine.searching(len(tokens), len(tokens) + max_tokens, config.rows) as decoder:
        [found] = generate(decoder, [request], config)
    if not found:
        raise DataError("no token may be chosen: all are forbidden", where="this search")
    return found
