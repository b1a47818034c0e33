"""From distributions to tokens: what all searches share, greedy search and sampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from peluche.errors import NumericsError
from peluche.generation.best import best_token
from peluche.generation.config import DecodingConfig
from peluche.generation.decoder import Decoder
from peluche.generation.sampling import SamplingParameters, SamplingState, choose_tokens
from peluche.text.tokenizer import SpecialIds

FREE = -1
DEFAULT_SAMPLING = SamplingParameters()
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
        read: tokens that the repetition penalty counts as said before.
    """

    source: Sequence[int]
    limit: int
    prefix: Sequence[int] = ()
    sampling: SamplingParameters = DEFAULT_SAMPLING
    stream: int = 0
    read: Sequence[int] = ()


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


def require_numbers(row_values: Float[Tensor, "rows"]) -> None:
    """Refuse logits by a value of each row, such as a log-probability, that shows what they are.

    Raises:
        NumericsError: one is NaN or +∞.
    """
    if not bool((row_values < torch.inf).all()):
        raise NumericsError(
            "the model's logits are not numbers", remedy="check the model's weights"
        )


def never_said(special: SpecialIds) -> Int[Tensor, "tokens"]:
    """Ids whose probability is taken away."""
    return torch.tensor(special.never, dtype=torch.int64)


class Chooser(Protocol):
    """Takes a token from each row of logits. Rows are numbered as at the beginning."""

    def choose(
        self, logits: Float[Tensor, "rows vocabulary"], rows: Int[Tensor, "rows"]
    ) -> Int[Tensor, "rows"]:
        """The token of each row, if it is free to choose. `logits` are not changed."""

    def advance(self, tokens: Int[Tensor, "rows"], rows: Int[Tensor, "rows"]) -> None:
        """What the rows say after all."""


def greedy_search(
    decoder: Decoder, requests: Sequence[Request], config: DecodingConfig, *, scores: bool = True
) -> list[list[Hypothesis]]:
    """The likeliest token at every step. One hypothesis per request.

    Without `scores` they are NaN, which saves a pass over all logits.
    """

    return _follow(decoder, requests, config, 1, _Greedy(), scores=scores)


class _Greedy:
    """See `Chooser`."""

    def choose(self, logits: Tensor, rows: Tensor) -> Tensor:
        return best_token(logits)

    def advance(self, tokens: Tensor, rows: Tensor) -> None:
        pass


def sample(
    decoder: Decoder, requests: Sequence[Request], config: DecodingConfig
) -> list[list[Hypothesis]]:
    """`config.n_best` independent draws per request, likeliest first.

    A request draws the same tokens alone and in any batch: its random numbers are its own.
    """
    return _follow(decoder, requests, config, config.n_best, _Sampling(requests, config.n_best))


class _Sampling:
    """See `Chooser`. The draws of a request have streams of their own."""

    def __init__(self, requests: Sequence[Request], draws: int) -> None:
        self.states = [
            SamplingState(request.sampling, request.stream * draws + draw, request.read)
            for request in requests
            for draw in range(draws)
        ]

    def choose(self, logits: Tensor, rows: Tensor) -> Tensor:
        return choose_tokens(logits, [self.states[row] for row in rows.tolist()])

    def advance(self, tokens: Tensor, rows: Tensor) -> None:
        for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
            self.states[row].advance(token)


def _follow(
    decoder: Decoder,
    requests: Sequence[Request],
    config: DecodingConfig,
    copies: int,
    chooser: Chooser,
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
        normaliser = logits.logsumexp(-1) if scores else torch.tensor(torch.nan)
        if scores:
            require_numbers(normaliser)
        raw = None if free_steps[step] else logits.clone()
        rows = (alive[:, None] * copies + torch.arange(copies)).flatten()
        tokens = chooser.choose(logits.index_fill_(1, never, -torch.inf), rows).view(-1, copies)
        if raw is not None:
            forced = batch.forced[alive, step, None]
            tokens = torch.where(forced == FREE, tokens, forced)
        tokens = tokens.masked_fill(ended, eos)
        chooser.advance(tokens.flatten(), rows)
        taken = (logits if raw is None else raw).gather(1, tokens.view(-1, 1))[:, 0]
        require_numbers(taken)
        taken -= normaliser
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
