"""Beam search that stops when it is certain, and not before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from peluche.generation.best import GROUP
from peluche.generation.config import DecodingConfig
from peluche.generation.decoder import Decoder
from peluche.generation.search import (
    FREE,
    SHRINK_AT,
    Batch,
    Hypothesis,
    Request,
    greedy_search,
    hypotheses,
    never_said,
    require_numbers,
)


class BeamStep(NamedTuple):
    """What one step of a beam search did, for those who watch. S sentences are still searched.

    Attributes:
        step: 0 for the first token.
        sentences: (S,) the number of each sentence in the batch.
        parents: (S, B) which beam before this step each live beam continues.
        tokens: (S, B) the token it adds.
        scores: (S, B) its log-probability in nats, not normalised; −∞ for a beam not in use.
        finished: (S, B) normalised score of the hypothesis that [EOS] ended at this step as the
            b-th best candidate, −∞ where candidate b did not end.
        finished_parents: (S, B) the beam that such a hypothesis came from.
    """

    step: int
    sentences: Int[Tensor, "sentences"]
    parents: Int[Tensor, "sentences beams"]
    tokens: Int[Tensor, "sentences beams"]
    scores: Float[Tensor, "sentences beams"]
    finished: Float[Tensor, "sentences beams"]
    finished_parents: Int[Tensor, "sentences beams"]


class Candidates(NamedTuple):
    """Continuations of a sentence's beams, best first: each tensor is (sentences, count)."""

    scores: Tensor
    parents: Tensor
    tokens: Tensor

    def take(self, index: Int[Tensor, "sentences kept"]) -> Candidates:
        return Candidates(*(tensor.gather(1, index) for tensor in self))


def beam_search(
    decoder: Decoder,
    requests: Sequence[Request],
    config: DecodingConfig,
    observe: Callable[[BeamStep], None] | None = None,
) -> list[list[Hypothesis]]:
    """The `config.n_best` best finished of the `config.beams` hypotheses followed per request.

    Of the 2·beams best continuations of a sentence's beams, those among the first `beams` that are
    [EOS] finish a hypothesis, and the best `beams` others live on. Log-probabilities only fall,
    so a live beam of log-probability s can end with at most s / normaliser(limit): a sentence is
    done when that is no better than the worst of `n_best` finished hypotheses, and not earlier.
    With one beam this is greedy search: it ends with the first [EOS].
    """
    if config.beams == 1:
        return greedy_search(decoder, requests, config)
    special = decoder.special
    never, eos = never_said(special), special.eos
    batch = Batch.of(requests, special)
    count, steps = batch.forced.shape
    beams, n_best = config.beams, config.n_best
    any_forced = (batch.forced != FREE).any(0).tolist()
    normaliser = config.normaliser(torch.arange(steps + 1))
    at_limit = normaliser[batch.limits]
    decoding = decoder.start(batch.source, batch.valid, beams, steps)

    best_scores = torch.full((count, n_best), -torch.inf)
    best_tokens = torch.full((count, n_best, steps), eos)
    alive = torch.arange(count)
    tokens = torch.full((count, beams), special.bos)
    written = torch.full((count, beams, steps), eos)
    scores = torch.full((count, beams), -torch.inf)
    scores[:, 0] = 0.0
    kept_scores, kept_tokens = best_scores.clone(), best_tokens.clone()
    for step in range(steps):
        logits = decoding.step(tokens.flatten())
        forced = batch.forced[alive, step] if any_forced[step] else None
        candidates = _continue(logits, scores, beams, forced, never)
        is_end = candidates.tokens == eos
        finished = candidates.scores[:, :beams].masked_fill(~is_end[:, :beams], -torch.inf)
        finished /= normaliser[step + 1]
        if bool(is_end[:, :beams].any()):
            pool = torch.cat([kept_scores, finished], 1)
            kept_scores, index = pool.topk(n_best)
            ended = _rows(written, candidates.parents[:, :beams])
            kept_tokens = _rows(torch.cat([kept_tokens, ended], 1), index)
        order = candidates.scores.masked_fill(is_end, -torch.inf).topk(beams)
        live = candidates.take(order.indices)
        scores = order.values
        done = scores[:, 0] / at_limit[alive] <= kept_scores[:, -1]
        done |= batch.limits[alive] == step + 1
        scores.masked_fill_(done[:, None], -torch.inf)
        # A beam that is not in use may hold any column, even one that is no token.
        tokens = live.tokens.masked_fill(scores == -torch.inf, eos)
        if observe is not None:
            parents = candidates.parents[:, :beams]
            observe(BeamStep(step, alive, live.parents, tokens, scores, finished, parents))
        written = _rows(written, live.parents)
        written[:, :, step] = tokens
        left = len(alive) - int(done.sum())
        if left <= SHRINK_AT * len(alive):
            best_scores[alive], best_tokens[alive] = kept_scores, kept_tokens
            if not left:
                break
            decoding.select(live.parents)
            going = (~done).nonzero()[:, 0]
            decoding.keep(going)
            alive, tokens, scores, written = (t[going] for t in (alive, tokens, scores, written))
            kept_scores, kept_tokens = kept_scores[going], kept_tokens[going]
        else:
            decoding.select(live.parents)
    return hypotheses(best_tokens, best_scores, eos)


def _rows(
    sequences: Int[Tensor, "sentences beams steps"], index: Int[Tensor, "sentences kept"]
) -> Int[Tensor, "sentences kept steps"]:
    return sequences.gather(1, index[:, :, None].expand(-1, -1, sequences.shape[-1]))


def _continue(
    logits: Float[Tensor, "rows vocabulary"],
    scores: Float[Tensor, "sentences beams"],
    beams: int,
    forced: Int[Tensor, "sentences"] | None,
    never: Int[Tensor, "tokens"],
) -> Candidates:
    """The 2·beams best continuations of each sentence; a forced token is the only one."""
    log_probabilities = torch.log_softmax(logits, -1, out=logits)
    require_numbers(log_probabilities[:, 0])
    only = None
    if forced is not None:
        token = forced.clamp(min=0).repeat_interleave(beams)
        only = scores + log_probabilities.gather(1, token[:, None]).view_as(scores)
    log_probabilities.index_fill_(1, never, -torch.inf)
    found = best_continuations(log_probabilities, scores, 2 * beams)
    if forced is None or only is None:
        return found
    filler = torch.full_like(only, -torch.inf)
    order = only.topk(beams)
    narrow = Candidates(
        torch.cat([order.values, filler], 1),
        torch.cat([order.indices, order.indices], 1),
        forced[:, None].expand(-1, 2 * beams),
    )
    free = (forced == FREE)[:, None]
    return Candidates(*(torch.where(free, *pair) for pair in zip(found, narrow, strict=True)))


def best_continuations(
    log_probabilities: Float[Tensor, "rows vocabulary"],
    scores: Float[Tensor, "sentences beams"],
    count: int,
) -> Candidates:
    """The `count` best sums of a beam's score and a token's log-probability, per sentence.

    The best `count` entries lie in the `count` groups of columns with the largest maxima, so that
    only these groups are searched.
    """
    sentences, beams = scores.shape
    surplus = -log_probabilities.shape[1] % GROUP
    if surplus:
        log_probabilities = torch.nn.functional.pad(
            log_probabilities, (0, surplus), value=-torch.inf
        )
    groups = log_probabilities.shape[1] // GROUP
    grouped = log_probabilities.view(sentences * beams, groups, GROUP)
    maxima = (grouped.amax(-1) + scores.view(-1, 1)).view(sentences, beams * groups)
    chosen = maxima.topk(min(count, beams * groups)).indices
    first = torch.arange(sentences)[:, None] * (beams * groups)
    within = grouped.view(-1, GROUP).index_select(0, (chosen + first).flatten())
    beam = chosen // groups
    sums = within.view(sentences, -1, GROUP) + scores.gather(1, beam)[:, :, None]
    best = sums.flatten(1).topk(count)
    place = best.indices // GROUP
    group = chosen.gather(1, place)
    token = (group % groups) * GROUP + best.indices % GROUP
    return Candidates(best.values, beam.gather(1, place), token)
