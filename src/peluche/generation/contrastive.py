"""Contrastive search: likely tokens that do not go over what was said."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from peluche.errors import ConfigError
from peluche.generation.best import best_tokens
from peluche.generation.config import DecodingConfig
from peluche.generation.decoder import Decoder, TextDecoder
from peluche.generation.search import Hypothesis, Request, hypotheses, never_said, require_numbers


def contrastive_search(
    decoder: Decoder, requests: Sequence[Request], config: DecodingConfig
) -> list[list[Hypothesis]]:
    """Of the k likeliest tokens v, at each step the one with the greatest
    (1 − α)·p(v) − α·max_j cos(h_v, h_j) (Su et al. 2022, eq. 5), h being hidden states: of v as if
    it had been said, and of every token before it, the prompt's too. One hypothesis per request.

    Each token costs a call of the model with k rows per request.

    Args:
        requests: with sources of one length, and without prefixes.
        config: k is `candidates`, α is `penalty_alpha`.

    Raises:
        ConfigError: what is decoded is no text that goes on, or a request has a prefix.
    """
    if not isinstance(decoder, TextDecoder) or any(request.prefix for request in requests):
        raise ConfigError(
            "contrastive search goes on with texts, and with nothing else",
            where="decoding.kind",
            remedy="use kind 'beam', 'greedy' or 'sample'",
        )
    never, eos, alpha = never_said(decoder.special), decoder.special.eos, config.penalty_alpha
    source = torch.tensor([request.source for request in requests])
    limits = torch.tensor([request.limit for request in requests])
    (count, length), steps = source.shape, int(limits.max())
    texts = decoder.texts(count, length + steps)
    hidden = texts.read(source, wanted=length)
    said = hidden.new_zeros(count, length + steps, hidden.shape[-1])
    said[:, :length] = normalize(hidden, dim=-1)

    written = torch.full((count, steps), eos)
    totals = torch.zeros(count)
    alive = torch.arange(count)
    for step in range(steps):
        log_probabilities = texts.logits().log_softmax(-1)
        copies = min(config.candidates, log_probabilities.shape[1])
        require_numbers(log_probabilities[:, 0])
        tokens = torch.full_like(alive, eos)
        if step < steps - 1:
            allowed = log_probabilities.index_fill(1, never, -torch.inf)
            values, found = best_tokens(allowed, copies)
            texts.select(torch.arange(len(alive)).repeat_interleave(copies))
            new = texts.read(found.view(-1, 1)).view(len(alive), copies, -1)
            likeness = _likeness(new, said[:, : length + step]).cpu()
            worth = (1 - alpha) * values.exp() - alpha * likeness
            best = worth.masked_fill(values == -torch.inf, -torch.inf).argmax(-1, keepdim=True)
            chosen = found.gather(1, best)[:, 0]
            tokens = torch.where(limits[alive] == step + 1, eos, chosen)
        written[alive, step] = tokens
        totals[alive] += log_probabilities.gather(1, tokens[:, None])[:, 0]
        going = (tokens != eos).nonzero()[:, 0]
        if not len(going):
            break
        best = best[going, 0]
        texts.select(going * copies + best)
        alive, said = alive[going], said[going.to(said.device)]
        said[:, length + step] = normalize(new[going.to(new.device), best.to(new.device)], dim=-1)
    lengths = (written != eos).sum(-1)
    scores = totals / config.normaliser(lengths + 1)
    return hypotheses(written[:, None], scores[:, None], eos)


def _likeness(
    new: Float[Tensor, "texts candidates width"], said: Float[Tensor, "texts before width"]
) -> Float[Tensor, "texts candidates"]:
    """The greatest cosine between a candidate and what was said; `said` has unit length."""
    return (normalize(new, dim=-1) @ said.transpose(1, 2)).amax(-1).float()
