"""Sampling: parameters are a record per request, applied to all rows of a batch at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from peluche.config import Config
from peluche.errors import ConfigError
from peluche.generation.best import best_token, best_tokens

# Under this temperature, float32 divides logits into infinities.
COLDEST = 1e-4
# The most likeliest tokens that rows are cut down to before they are processed.
NARROW = 256


class SamplingParameters(Config):
    """How one request chooses its tokens; the defaults draw from the model's own distribution."""

    temperature: float = Field(
        1.0,
        ge=0,
        allow_inf_nan=False,
        description="below 1 sharpens, above 1 flattens; 0 takes the likeliest token",
    )
    top_k: int | None = Field(None, ge=1, description="only the k likeliest tokens")
    top_p: float = Field(
        1.0, gt=0, le=1, description="only the likeliest tokens that hold this probability"
    )
    min_p: float = Field(
        0.0, ge=0, le=1, description="only tokens with this share of the best one's probability"
    )
    typical_p: float = Field(
        1.0, gt=0, le=1, description="only tokens of usual surprisal that hold this probability"
    )
    repetition_penalty: float = Field(
        1.0, ge=0.01, le=100, description="over 1: tokens read or said before become less likely"
    )
    presence_penalty: float = Field(
        0.0, ge=-2, le=2, description="taken from the logit of each token said before"
    )
    frequency_penalty: float = Field(
        0.0, ge=-2, le=2, description="taken from a token's logit each time it was said"
    )
    logit_bias: dict[
        Annotated[int, Field(ge=0)],
        Annotated[float, Field(ge=-100, le=100)],
    ] = Field({}, description="what is added to the logits of these token ids")
    seed: int = Field(0, ge=0, description="equal seeds draw equal tokens")

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if 0 < self.temperature < COLDEST:
            raise ValueError(
                f"temperature {self.temperature} is too small to divide by; nearest that are not: "
                f"0 (the likeliest token) and {COLDEST}"
            )
        return self

    @property
    def counts(self) -> bool:
        """Whether it matters what was said before."""
        return (
            self.repetition_penalty != 1
            or self.presence_penalty != 0
            or self.frequency_penalty != 0
        )


class SamplingState:
    """What one request brings from step to step: its random numbers, and what it has said.

    Args:
        stream: tells requests of equal seed apart. Random number n depends on (seed, stream, n).
        prompt: tokens that count as read before, for the repetition penalty.
    """

    def __init__(
        self, parameters: SamplingParameters, stream: int = 0, prompt: Sequence[int] = ()
    ) -> None:
        self.parameters = parameters
        self._random = np.random.default_rng([parameters.seed, stream])
        self._places: dict[int, int] = {}
        self._tokens = np.zeros(16, dtype=np.int64)
        self._counts = np.zeros(16, dtype=np.float32)
        if parameters.counts:
            for token in prompt:
                self._place(token)

    def uniform(self) -> float:
        """The next random number, in [0, 1)."""
        return float(self._random.random(dtype=np.float32))

    def advance(self, token: int) -> None:
        """This token was said."""
        if self.parameters.counts:
            self._counts[self._place(token)] += 1

    def said(self) -> tuple[Tensor, Tensor]:
        """Each token read or said, (tokens,), and how often it was said, (tokens,)."""
        used = len(self._places)
        return torch.from_numpy(self._tokens[:used]), torch.from_numpy(self._counts[:used])

    def _place(self, token: int) -> int:
        place = self._places.setdefault(token, len(self._places))
        if place == len(self._tokens):
            self._tokens = np.concatenate([self._tokens, np.zeros_like(self._tokens)])
            self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
        self._tokens[place] = token
        return place


def check_ids(tokens: Iterable[int], vocabulary: int, where: str) -> None:
    """Refuse ids that are outside a vocabulary.

    Raises:
        ConfigError: there is one.
    """
    highest = max(tokens, default=0)
    if highest >= vocabulary:
        raise ConfigError(
            f"there is no token {highest}: the vocabulary has {vocabulary}",
            where=where,
            remedy=f"ids are 0 to {vocabulary - 1}",
        )


def choose_tokens(
    logits: Float[Tensor, "rows vocabulary"], states: Sequence[SamplingState]
) -> Int[Tensor, "rows"]:
    """The next token of each row, by its own parameters. `logits` are not changed.

    Draws one random number of each row that is not greedy; does not `advance` any.
    """
    logits = bias_and_penalise(logits, states)
    drawn = [row for row, state in enumerate(states) if state.parameters.temperature > 0]
    if len(drawn) < len(states):
        tokens = best_token(logits)
        if not drawn:
            return tokens
        logits = logits[drawn]
    records = [states[row].parameters for row in drawn]
    uniform = torch.tensor([states[row].uniform() for row in drawn])
    found = draw_tokens(logits, records, uniform)
    if len(drawn) == len(states):
        return found
    tokens[drawn] = found
    return tokens


def bias_and_penalise(
    logits: Float[Tensor, "rows vocabulary"], states: Sequence[SamplingState]
) -> Float[Tensor, "rows vocabulary"]:
    """Logit bias, then the repetition penalty, then presence and frequency penalties.

    Bias: logit + b. Repetition (Keskar et al. 2019, §4.1, as transformers has it): the logit of a
    token that was read or said is divided by the penalty if positive, else multiplied with it.
    Presence and frequency (OpenAI's): logit − presence·[count > 0] − frequency·count, of what was
    said since the prompt.
    """
    changes = any(state.parameters.counts or state.parameters.logit_bias for state in states)
    if not changes:
        return logits
    logits = logits.clone()
    for row, state in zip(logits, states, strict=True):
        parameters = state.parameters
        if parameters.logit_bias:
            check_ids(parameters.logit_bias, len(row), "logit_bias")
            tokens = torch.tensor(list(parameters.logit_bias))
            row[tokens] += torch.tensor(list(parameters.logit_bias.values()))
        if parameters.counts:
            tokens, counts = state.said()
            values = row[tokens]
            penalty = parameters.repetition_penalty
            values = torch.where(values < 0, values * penalty, values / penalty)
            values -= parameters.presence_penalty * (counts > 0)
            row[tokens] = values - parameters.frequency_penalty * counts
    return logits


def draw_tokens(
    logits: Float[Tensor, "rows vocabulary"],
    records: Sequence[SamplingParameters],
    uniform: Float[Tensor, "rows"],
) -> Int[Tensor, "rows"]:
    """Draw a token of each row's `process`ed distribution.

    Rows with a small top-k are cut down to their best tokens first.
    """
    narrow = [row for row, r in enumerate(records) if r.top_k is not None and r.top_k < NARROW]
    tokens = torch.empty(len(records), dtype=torch.int64)
    wide = sorted(set(range(len(records))) - set(narrow))
    if narrow:
        cut = [records[row] for row in narrow]
        top_k = torch.tensor([[r.top_k] for r in cut]).clamp(max=logits.shape[1])
        values, ids = best_tokens(logits[narrow], int(top_k.max()) + 1)
        # Tokens as good as the k-th stay: where there may be more of them than were found, all
        # tokens have to be looked at.
        after = top_k.clamp(max=values.shape[1] - 1)
        tied = (values.gather(1, top_k - 1) == values.gather(1, after)) & (after == top_k)
        ids, order = ids.sort(-1)
        chosen = draw(process(values.gather(1, order), cut), uniform[narrow])
        tokens[narrow] = ids.gather(1, chosen[:, None])[:, 0]
        wide += [row for row, tie in zip(narrow, tied[:, 0].tolist(), strict=True) if tie]
    if wide:
        rows = logits[wide] if len(wide) < len(logits) else logits
        wide = wide if len(wide) < len(logits) else list(range(len(logits)))
        tokens[wide] = draw(process(rows, [records[row] for row in wide]), uniform[wide])
    return tokens


Column = Float[Tensor, "rows 1"]


def apply_temperature(
    logits: Float[Tensor, "rows vocabulary"], temperature: Column
) -> Float[Tensor, "rows vocabulary"]:
    """Divide by the temperature (Ackley et al. 1985)."""
    return logits / temperature


def keep_top_k(
    logits: Float[Tensor, "rows vocabulary"], top_k: Column
) -> Float[Tensor, "rows vocabulary"]:
    """Rule out all but the k best tokens (Fan et al. 2018, §5.1); ties with the k-th stay."""
    place = top_k.long().clamp(max=logits.shape[-1]) - 1
    best = best_tokens(logits, int(place.max()) + 1)[0]
    return logits.masked_fill(logits < best.gather(-1, place), -torch.inf)


def keep_top_p(
    logits: Float[Tensor, "rows vocabulary"], top_p: Column
) -> Float[Tensor, "rows vocabulary"]:
    """Rule out all but the smallest set of best tokens with probability p (Holtzman et al. 2020).

    The token that crosses p stays, and so do its ties.
    """
    worst = _worst_within(logits, logits.softmax(-1), top_p)
    return logits.masked_fill(logits < worst, -torch.inf)


def keep_min_p(
    logits: Float[Tensor, "rows vocabulary"], min_p: Column
) -> Float[Tensor, "rows vocabulary"]:
    """Rule out tokens under a share of the best probability (Nguyen et al. 2024, §3)."""
    floor = logits.amax(-1, keepdim=True) + min_p.log()
    return logits.masked_fill(logits < floor, -torch.inf)


def keep_typical(
    logits: Float[Tensor, "rows vocabulary"], typical_p: Column
) -> Float[Tensor, "rows vocabulary"]:
    """Rule out all but the smallest set with probability p of tokens whose surprisal is nearest to
    the entropy (Meister et al. 2022, eq. 10). The token that crosses p stays.
    """
    surprisal = -logits.log_softmax(-1)
    probabilities = (-surprisal).exp()
    entropy = (probabilities * surprisal).nansum(-1, keepdim=True)
    nearness = -(surprisal - entropy).abs()
    worst = _worst_within(nearness, probabilities, typical_p)
    return logits.masked_fill(nearness < worst, -torch.inf)


def _worst_within(scores: Tensor, probabilities: Tensor, mass: Column, count: int = 256) -> Column:
    """The worst score in the smallest set of best-scored tokens that holds a probability."""
    best, ids = best_tokens(scores, count)
    held = probabilities.gather(-1, ids)
    totals = held.cumsum(-1)
    kept = ((totals - held < mass).sum(-1, keepdim=True) - 1).clamp(min=0)
    worst = best.gather(-1, kept)
    open_ended = (totals[:, -1:] < mass)[:, 0].nonzero()[:, 0]
    if count < scores.shape[-1] and len(open_ended):
        worst[open_ended] = _worst_within(
            scores[open_ended], probabilities[open_ended], mass[open_ended], 16 * count
        )
    return worst


Processor = Callable[[Tensor, Tensor], Tensor]
# In the order in which they are applied: parameter, the value that changes nothing, and how.
PROCESSORS: tuple[tuple[str, float | None, Processor], ...] = (
    ("temperature", 1.0, apply_temperature),
    ("top_k", None, keep_top_k),
    ("top_p", 1.0, keep_top_p),
    ("min_p", 0.0, keep_min_p),
    ("typical_p", 1.0, keep_typical),
)


def process(
    logits: Float[Tensor, "rows vocabulary"], records: Sequence[SamplingParameters]
) -> Float[Tensor, "rows vocabulary"]:
    """`PROCESSORS` in order, each on what the one before left, as transformers has them.

    What no row asks for is not computed.
    """
    for name, neutral, processor in PROCESSORS:
        asked = [
            (row, value) for row, r in enumerate(records) if (value := getattr(r, name)) != neutral
        ]
        if asked:
            rows = torch.tensor([row for row, _ in asked])
            column = torch.tensor([[float(value)] for _, value in asked])
            if len(asked) == len(records):
                logits = processor(logits, column)
            else:
                logits = logits.index_copy(0, rows, processor(logits[rows], column))
    return logits


def draw(
    logits: Float[Tensor, "rows vocabulary"], uniform: Float[Tensor, "rows"]
) -> Int[Tensor, "rows"]:
    """Draw a token of softmax(logits) by inverting its distribution function at `uniform`.

    A row that no token can be drawn from gives any one.
    """
    totals = logits.softmax(-1).cumsum(-1)
    # uniform < 1, so the product stays under the last total, and the first total above it
    # belongs to a token of non-zero probability.
    at = uniform[:, None] * totals[:, -1:]
    return torch.searchsorted(totals, at, right=True)[:, 0].clamp(max=logits.shape[1] - 1)
