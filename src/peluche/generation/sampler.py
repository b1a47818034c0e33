"""Choosing the next token of many requests at once, each by its own rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from peluche.errors import ConfigError, DataError, NumericsError, PelucheError
from peluche.generation.best import best_tokens
from peluche.generation.guides import Guide, GuideFactory
from peluche.generation.requests import GenerationRequest
from peluche.generation.sampling import SamplingState, check_ids, choose_tokens
from peluche.interrupts import uninterrupted
from peluche.text.tokenizer import SpecialIds


class Chosen(NamedTuple):
    """One step of one request.

    Attributes:
        token: may be [EOS], which is no part of the text.
        logprob: of the token, in nats, by the model itself: before any parameter, penalty or guide.
        top: the likeliest tokens and their log-probabilities, likewise, best first.
        ended: the token is [EOS], or the last that the guide lets the text have.
    """

    token: int
    logprob: float
    top: list[tuple[int, float]]
    ended: bool


@dataclass
class _Running:
    request: GenerationRequest
    state: SamplingState
    guide: Guide | None
    written: int = 0


class Sampler:
    """Holds what each request brings from step to step. A request is known by a key.

    Args:
        special: [EOS], and the tokens that are never chosen.
        vocabulary: columns of the logits.
        guides: makes guides; without it, requests that have one are refused.
    """

    def __init__(
        self, special: SpecialIds, vocabulary: int, guides: GuideFactory | None = None
    ) -> None:
        self.special, self.vocabulary, self.guides = special, vocabulary, guides
        self._running: dict[int, _Running] = {}

    def add(self, key: int, request: GenerationRequest) -> None:
        """Begin a request.

        Raises:
            ConfigError: the guide cannot be built, or a token is not in the vocabulary.
            ValueError: the key is in use.
        """
        if key in self._running:
            raise ValueError(f"key {key} is in use")
        sampling = request.sampling
        read = request.tokens if request.read is None else request.read
        check_ids(request.tokens, self.vocabulary, "the prompt")
        check_ids((*read, *request.said), self.vocabulary, "what was read and said")
        check_ids(sampling.logit_bias, self.vocabulary, "logit_bias")
        guide = None
        if request.guide is not None:
            if self.guides is None:
                raise ConfigError(
                    "there is nothing here to make guides with",
                    where="the guide of this request",
                    remedy="give the sampler a GuideFactory of the model's tokenizer",
                )
            guide = self.guides.build(request.guide)
        state = SamplingState(sampling, request.stream, read, request.said)
        self._running[key] = _Running(request, state, guide)

    def remove(self, key: int) -> None:
        """Forget a request.

        Raises:
            KeyError: there is none of this key.
        """
        del self._running[key]

    def choose(
        self, keys: Sequence[int], logits: Float[Tensor, "rows vocabulary"]
    ) -> list[Chosen | PelucheError]:
        """The next token of each key, from its row; every request chosen for goes one step on.

        A request chooses the same tokens alone and in any batch. `logits` are not changed. If this
        raises, no request has gone on; Ctrl-C ends it before they do, or after all have.

        Returns:
            For a row that nothing can be chosen from, an error in place of a token: NumericsError
            for logits that are not numbers, DataError where nothing is allowed.
        """
        running = [self._running[key] for key in keys]
        logits = logits.detach().float().cpu().contiguous()
        normalisers = logits.logsumexp(-1)
        allowed, errors = self._allowed(logits, running)
        tokens = choose_tokens(allowed, [one.state for one in running])
        place = tokens[:, None]
        logprobs = (logits.gather(1, place)[:, 0] - normalisers).tolist()
        possible = (allowed.gather(1, place)[:, 0] > -torch.inf).tolist()
        finite = normalisers.isfinite().tolist()
        tops = _likeliest(logits, normalisers, [one.request.logprobs for one in running])
        found: list[Chosen | PelucheError] = []
        with uninterrupted():
            for row, (one, token) in enumerate(zip(running, tokens.tolist(), strict=True)):
                if not finite[row]:
                    errors[row] = _not_numbers(one)
                elif not possible[row]:
                    errors.setdefault(row, _nothing_allowed(one))
                if row not in errors:
                    try:
                        ended = self._advance(one, token)
                    except DataError as error:
                        errors[row] = error
                if row in errors:
                    found.append(errors[row])
                else:
                    found.append(Chosen(token, logprobs[row], tops.get(row, []), ended))
        return found

    def _allowed(
        self, logits: Tensor, running: Sequence[_Running]
    ) -> tuple[Tensor, dict[int, PelucheError]]:
        """Logits without the tokens that may not be chosen; errors of guides that are stuck."""
        errors: dict[int, PelucheError] = {}
        guided = [row for row, one in enumerate(running) if one.guide is not None]
        endless = [row for row, one in enumerate(running) if one.request.ignore_eos]
        if not (guided or endless or self.special.never):
            return logits, errors
        logits = logits.clone()
        logits[:, list(self.special.never)] = -torch.inf
        if self.special.eos >= 0:
            logits[endless, self.special.eos] = -torch.inf
        for row in guided:
            guide = running[row].guide
            assert guide is not None
            try:
                logits[row].masked_fill_(~guide.allowed(), -torch.inf)
            except DataError as error:
                errors[row] = error
        return logits, errors

    def _advance(self, one: _Running, token: int) -> bool:
        one.state.advance(token)
        one.written += 1
        complete = one.guide is not None and one.guide.advance(token)
        return complete or token == self.special.eos


def _likeliest(
    logits: Tensor, normalisers: Tensor, counts: Sequence[int]
) -> dict[int, list[tuple[int, float]]]:
    """The likeliest tokens of the rows that ask for some."""
    rows = [row for row, count in enumerate(counts) if count]
    if not rows:
        return {}
    values, ids = best_tokens(logits[rows], max(counts))
    logprobs = (values - normalisers[rows, None]).tolist()
    return {
        row: list(zip(ids[: counts[row]], logprobs[: counts[row]], strict=True))
        for row, ids, logprobs in zip(rows, ids.tolist(), logprobs, strict=True)
    }


def _not_numbers(one: _Running) -> NumericsError:
    return NumericsError(
        "the model's logits are not numbers",
        where=f"token {one.written + 1} of this request",
        remedy="check the model's weights; requests beside it are not concerned",
    )


def _nothing_allowed(one: _Running) -> DataError:
    return DataError(
        "no token may be chosen: all are forbidden",
        where=f"token {one.written + 1} of this request",
        remedy="forbid less by guide and parameters",
    )
