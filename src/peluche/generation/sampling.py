"""Sampling: parameters are a record per request, applied to all rows of a batch at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from peluche.config import Config
from peluche.errors import ConfigError
from peluche.generation.best import best_token, best_tokens
from peluche.generation.processors import PROCESSORS

# Under this temperature, float32 divides logits into infinities.
COLDEST = 1e-4
# How many of the likeliest tokens are looked at first.
NARROW = 128


class SamplingParameters(Config):
    """How one request chooses its tokens; the defaults draw from the model's own distribution."""

    temperature: float = Field(
        1.0,
        ge=0,
        allow_inf_nan=False,
        description="below 1 sharpens, above 1 flattens; 0 takes the likeliest token",
    )
    top_k: int | None = Field(None, ge=1, lt=1 << 32, description="only the k likeliest tokens")
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
        said: tokens that count as said before.
    """

    def __init__(
        self,
        parameters: SamplingParameters,
        stream: int = 0,
        prompt: Sequence[int] = (),
        said: Sequence[int] = (),
    ) -> None:
        self.parameters = parameters
        self._random = np.random.default_rng([parameters.seed, stream])
        self._uniform: float | None = None
        self._places: dict[int, int] = {}
        self._tokens = np.zeros(16, dtype=np.int64)
        self._counts = np.zeros(16, dtype=np.float32)
        if parameters.counts:
            for token in prompt:
                self._place(token)
        for token in said:
            self.advance(token)

    def uniform(self) -> float:
        """The random number of the next token, in [0, 1)."""
        if self._uniform is None:
            self._uniform = float(self._random.random(dtype=np.float32))
        return self._uniform

    def advance(self, token: int) -> None:
        """This token was said; if its random number was asked for, the next one follows."""
        self._uniform = None
        if self.parameters.counts:
            place = self._place(token)
            self._counts[place] += 1

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

    The states stay as they are: the same is chosen again until they `advance`.
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

    Where few tokens stay, only the best are looked at: what is drawn is the same.
    """
    tokens = torch.empty(len(records), dtype=torch.int64)
    large = logits.shape[1] > 8 * NARROW
    narrow = [row for row, record in enumerate(records) if large and _is_narrow(record)]
    wide = sorted(set(range(len(records))) - set(narrow))
    if narrow:
        rows = logits[narrow] if wide else logits
        found, certain = _draw_of_best(rows, [records[row] for row in narrow], uniform[narrow])
        tokens[narrow] = found
        wide += [row for row, sure in zip(narrow, certain.tolist(), strict=True) if not sure]
    if wide:
        rows = logits[wide] if narrow else logits
        tokens[wide] = draw(process(rows, [records[row] for row in wide]), uniform[wide])
    return tokens


def _is_narrow(record: SamplingParameters) -> bool:
    if record.top_k is not None:
        return record.top_k < NARROW
    return record.top_p < 1 or record.min_p > 0


def _draw_of_best(
    logits: Tensor, records: Sequence[SamplingParameters], uniform: Tensor
) -> tuple[Int[Tensor, "rows"], Bool[Tensor, "rows"]]:
    """Draw of the `NARROW` best tokens; and for which rows it is certain that all others are out.

    A row's own parameters alone decide that, not those of its batch.
    """
    records = list(records)
    values, ids = best_tokens(logits, NARROW)
    temperature = torch.tensor([[record.temperature] for record in records])
    min_p = torch.tensor([[record.min_p] for record in records])
    limited = torch.tensor([[record.top_k is not None] for record in records])
    top_k = torch.tensor([[record.top_k or 1] for record in records])
    # Tokens as good as the k-th stay.
    certain = limited & (values.gather(1, top_k - 1) > values.gather(1, top_k))
    certain |= values[:, -1:] < values[:, :1] + temperature * min_p.log()
    certain |= values[:, -1:] == -torch.inf
    rows = [row for row, r in enumerate(records) if r.top_k is None and r.top_p < 1]
    if rows:
        total = (logits[rows] / temperature[rows]).logsumexp(-1, keepdim=True)
        held = (values[rows] / temperature[rows] - total).exp()
        top_p = torch.tensor([[records[row].top_p] for row in rows])
        # Better than the last: as good as it may be others too.
        better = values[rows] > values[rows, -1:]
        certain[rows] |= (held * better).sum(-1, keepdim=True) >= top_p
        # The same tokens, by their share of what the best hold together.
        shares = (top_p / held.sum(-1, keepdim=True)).clamp(max=1)[:, 0].tolist()
        for row, share in zip(rows, shares, strict=True):
            records[row] = records[row].model_copy(update={"top_p": share})
    # In the order of the vocabulary, as all tokens are, so that the same is drawn.
    ids, order = ids.sort(-1)
    chosen = draw(process(values.gather(1, order), records), uniform)
    return ids.gather(1, chosen[:, None])[:, 0], certain[:, 0]


def process(
    logits: Float[Tensor, "rows vocabulary"], records: Sequence[SamplingParameters]
) -> Float[Tensor, "rows vocabulary"]:
    """`PROCESSORS` in order, each on what the one before left, as transformers has them.

    What no row asks for is not computed.
    """
    for name, neutral, processor in PROCESSORS:
        values = [getattr(record, name) for record in records]
        asked = [row for row, value in enumerate(values) if value != neutral]
        if asked:
            rows = torch.tensor(asked)
            column = torch.tensor([[float(values[row])] for row in asked])
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
