"""From distributions to tokens: what all searches share, greedy search and sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from peluche.generation.config import DecodingConfig
from peluche.generation.decoder import Decoder
from peluche.generation.sampling import (
    RowParameters,
    SamplingParameters,
    draw,
    process,
    uniforms,
)
from peluche.text.tokenizer import SpecialIds

FREE = -1
DEFAULT_SAMPLING = SamplingParameters()
# Columns of logits per group, of which only the best groups are searched for the best tokens.
GROUP = 64
# Leaving finished sentences behind copies the caches of the others: worth it from this share on.
SHRINK_AT = 0.75


@dataclass(frozen=True)
class Request:
    """One sentence to decode.

    Args:
        source: its tokens, [EOS] at the end.
        limit: the most tokens to write, the prefix and [EOS] included.
        prefix: tokens that the result must begin with, shorter than `limit`.
        sampling: how to draw, where the search is sampling.
        stream: tells requests of equal seed apart, e.g. a line number.
    """

    source: Sequence[int]
    limit: int
    prefix: Sequence[int] = ()
    sampling: SamplingParameters = DEFAULT_SAMPLING
    stream: int = 0


class Hypothesis(NamedTuple):
    """A finished sequence.

    Attributes:
        tokens: the tokens before [EOS].
        score: the log-probability of tokens and [EOS], divided by the length normaliser.
    """

    tokens: list[int]
    score: float


class Batch(NamedTuple):
    """Requests as tensors.

    Attributes:
        source: (sentences, source), padded on the right.
        valid: (sentences, source), False for padding.
        limits: (sentences,).
        forced: (sentences, steps); the token a sentence has to write at a step, or FREE. The last
            step of a sentence is forced to be [EOS].
    """

    source: Int[Tensor, "sentences source"]
    valid: Bool[Tensor, "sentences source"]
    limits: Int[Tensor, "sentences"]
    forced: Int[Tensor, "sentences steps"]

    @classmethod
    def of(cls, requests: Sequence[Request], special: SpecialIds) -> Batch:
        lengths = [len(request.source) for request in requests]
        width, steps = max(lengths), max(request.limit for request in requests)
        source = [[*r.source, *[special.pad] * (width - len(r.source))] for r in requests]
        forced = [
            [
                *request.prefix,
                *[FREE] * (request.limit - 1 - len(request.prefix)),
                *[special.eos] * (steps - request.limit + 1),
            ]
            for request in requests
        ]
        return cls(
            torch.tensor(source),
            torch.arange(width) < torch.tensor(lengths)[:, None],
            torch.tensor([request.limit for request in requests]),
            torch.tensor(forced),
        )


def never_said(special: SpecialIds) -> Int[Tensor, "tokens"]:
    """Ids whose probability is taken away."""
    return torch.tensor(special.never, dtype=torch.int64)


Chooser = Callable[[Tensor, int, Tensor], Tensor]


def greedy_search(
    decoder: Decoder, requests: Sequence[Request], config: DecodingConfig, *, scores: bool = True
) -> list[list[Hypothesis]]:
    """The likeliest token at every step. One hypothesis per request.

    Without `scores` they are NaN, which saves a pass over all logits.
    """

    def choose(logits: Tensor, step: int, sentences: Tensor) -> Tensor:
        return best_token(logits)

    return _follow(decoder, requests, config, 1, choose, scores=scores)


def best_token(logits: Float[Tensor, "rows vocabulary"]) -> Int[Tensor, "rows"]:
    """`logits.argmax(-1)`, first looking for the best group of columns, which is faster."""
    rows, columns = logits.shape
    if columns % GROUP:
        return logits.argmax(-1)
    groups = columns // GROUP
    group = logits.view(rows, groups, GROUP).amax(-1).argmax(-1)
    members = logits.view(rows * groups, GROUP)[torch.arange(rows) * groups + group]
    return group * GROUP + members.argmax(-1)


def sample(
    decoder: Decoder, requests: Sequence[Request], config: DecodingConfig
) -> list[list[Hypothesis]]:
    """`config.n_best` independent draws per request, likeliest first.

    A request draws the same tokens alone and in any batch: its random numbers are its own.
    """
    draws = config.n_best
    steps = max(request.limit for request in requests)
    numbers = torch.stack([uniforms(r.sampling.seed, r.stream, draws, steps) for r in requests])
    records = [request.sampling for request in requests for _ in range(draws)]
    parameters: RowParameters | None = None

    def choose(logits: Tensor, step: int, sentences: Tensor) -> Tensor:
        nonlocal parameters
        if parameters is None:
            parameters = RowParameters.of(records, logits.shape[-1])
        rows = (sentences[:, None] * draws + torch.arange(draws)).flatten()
        allowed = process(logits, parameters.rows(rows))
        return draw(allowed, numbers[sentences, :, step].flatten())

    return _follow(decoder, requests, config, draws, choose)


def _follow(
    decoder: Decoder,
    requests: Sequence[Request],
    config: DecodingConfig,
    copies: int,
    choose: Chooser,
    *,
    scores: bool = True,
) -> list[list[Hypothesis]]:
    """Write `copies` sequences per request, each step's token chosen from its logits."""
    special = decoder.special
    never, eos = never_said(special), special.eos
    batch = Batch.of(requests, special)
    count, steps = batch.forced.shape
    free_steps = (batch.forced == FREE).all(0).tolist()
    decoding = decoder.start(batch.source, batch.valid, copies, steps)
    written = torch.full((count, copies, steps), eos)
    totals = torch.zeros(count, copies)
    alive = torch.arange(count)
    tokens = torch.full((count, copies), special.bos)
    total, ended = totals.clone(), torch.zeros(count, copies, dtype=torch.bool)
    for step in range(steps):
        logits = decoding.step(tokens.flatten())
        normaliser = logits.logsumexp(-1) if scores else torch.nan
        raw = None if free_steps[step] else logits.clone()
        tokens = choose(logits.index_fill_(1, never, -torch.inf), step, alive).view(-1, copies)
        if raw is not None:
            forced = batch.forced[alive, step, None]
            tokens = torch.where(forced == FREE, tokens, forced)
        tokens = tokens.masked_fill(ended, eos)
        taken = (logits if raw is None else raw).gather(1, tokens.view(-1, 1))[:, 0] - normaliser
        total += taken.view(-1, copies).masked_fill(ended, 0.0)
        written[alive, :, step] = tokens
        ended |= tokens == eos
        going = ~ended.all(1)
        left = int(going.sum())
        if left <= SHRINK_AT * len(alive):
            totals[alive] = total
            if not left:
                break
            kept = going.nonzero()[:, 0]
            decoding.keep(kept)
            alive, tokens, total, ended = (t[kept] for t in (alive, tokens, total, ended))
    lengths = (written != eos).sum(-1)
    return hypotheses(written, totals / config.normaliser(lengths + 1), eos)


def hypotheses(
    tokens: Int[Tensor, "sentences results steps"],
    scores: Float[Tensor, "sentences results"],
    eos: int,
) -> list[list[Hypothesis]]:
    """Best first, each up to its first [EOS]; results with score −∞ are left out."""
    lengths = (tokens != eos).cumprod(-1).sum(-1).tolist()
    found = [
        [
            Hypothesis(row[:length], score)
            for row, length, score in zip(rows, row_lengths, row_scores, strict=True)
            if score != -torch.inf
        ]
        for rows, row_lengths, row_scores in zip(
            tokens.tolist(), lengths, scores.tolist(), strict=True
        )
    ]
    return [sorted(results, key=lambda result: -result.score) for results in found]
