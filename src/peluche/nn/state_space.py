"""A state that decays by as much as the text says: linear time, and a memory of fixed size."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from peluche.config import Config
from peluche.nn.trace import record

LEAST_STEP, MOST_STEP = 1e-3, 1e-1


class StateSpaceConfig(Config):
    """Mamba-2's layer (Dao & Gu 2024, arXiv 2405.21060, §7).

    Attributes:
        heads, width: each head carries a matrix (state, width).
        state: its other side: how much a head can remember.
        groups: heads of a group share keys and queries.
        kernel: tokens that a convolution looks at before anything else.
        chunk: tokens that are read at a time; changes the speed and nothing else.
    """

    heads: int = Field(8, gt=0)
    width: int = Field(32, gt=0)
    state: int = Field(64, gt=0)
    groups: int = Field(1, gt=0)
    kernel: int = Field(4, gt=0)
    chunk: int = Field(64, gt=0)

    @model_validator(mode="after")
    def _groups_fit(self) -> StateSpaceConfig:
        if self.heads % self.groups:
            raise ValueError(f"heads {self.heads} is not divisible by groups {self.groups}")
        return self


class Remembered(NamedTuple):
    """What a layer carries from token to token.

    Attributes:
        tail: (kernel − 1, rows, channels): what the convolution still has to see.
        matrices: (rows, heads · state · width).
    """

    tail: Float[Tensor, "before rows channels"]
    matrices: Float[Tensor, "rows numbers"]


class StateSpace(nn.Module):
    """h ← exp(−Δ·e^A)·h + Δ·key ⊗ value, output query · h + D·value; Δ, key, query from the token.

    Inside a chunk this is attention whose weights decay (the paper's "dual" form, §6), between
    chunks it is a recurrence. In the paper's letters: value x, key B, query C, step Δ.
    """

    def __init__(self, config: StateSpaceConfig, d_model: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.config = config
        inner, shared = config.heads * config.width, config.groups * config.state
        self.gate = nn.Linear(d_model, inner, bias=False)
        self.value = nn.Linear(d_model, inner, bias=False)
        self.key = nn.Linear(d_model, shared, bias=False)
        self.query = nn.Linear(d_model, shared, bias=False)
        self.step = nn.Linear(d_model, config.heads, bias=False)
        channels = inner + 2 * shared
        bound = config.kernel**-0.5
        self.kernel = nn.Parameter(torch.empty(channels, config.kernel).uniform_(-bound, bound))
        self.kernel_bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))
        self.decay_log = nn.Parameter(torch.arange(1.0, config.heads + 1).log())
        self.skip = nn.Parameter(torch.ones(config.heads))
        # Steps start between 0.001 and 0.1, evenly in their logarithm.
        steps = torch.empty(config.heads).uniform_(math.log(LEAST_STEP), math.log(MOST_STEP)).exp()
        self.step_bias = nn.Parameter(steps + torch.log(-torch.expm1(-steps)))
        self.norm = nn.Parameter(torch.ones(inner))
        self.epsilon = epsilon
        self.out = nn.Linear(inner, d_model, bias=False)

    def start(self, rows: int, like: Tensor) -> Remembered:
        """What is carried before anything is read."""
        config = self.config
        return Remembered(
            like.new_zeros(config.kernel - 1, rows, len(self.kernel)),
            like.new_zeros(rows, config.heads * config.state * config.width),
        )

    def forward(
        self,
        hidden: Float[Tensor, "rows length d_model"],
        documents: Int[Tensor, "rows length"],
        carried: Remembered,
    ) -> tuple[Float[Tensor, "rows length d_model"], Remembered]:
        """Go on from `carried`, which belongs to each row's first document; 0 is its number."""
        config, (rows, length, _) = self.config, hidden.shape
        raw = torch.cat([self.value(hidden), self.key(hidden), self.query(hidden)], -1)
        mixed, tail = self._convolve(raw, documents, carried.tail)
        inner, shared = config.heads * config.width, config.groups * config.state
        value, key, query = F.silu(mixed).split([inner, shared, shared], -1)
        value = value.unflatten(-1, (config.heads, config.width))
        key, query = (part.unflatten(-1, (config.groups, config.state)) for part in (key, query))
        step = F.softplus(self.step(hidden) + self.step_bias)
        record("step", step)
        matrices = carried.matrices.view(rows, config.heads, config.state, config.width)
        at = torch.zeros(rows, dtype=documents.dtype, device=documents.device)
        outputs = []
        for start in range(0, length, config.chunk):
            piece = slice(start, start + config.chunk)
            output, matrices = self._chunk(
                value[:, piece],
                key[:, piece],
                query[:, piece],
                step[:, piece],
                documents[:, piece],
                at,
                matrices,
            )
            at = documents[:, piece][:, -1]
            outputs.append(output)
        read = torch.cat(outputs, 1) + self.skip[:, None] * value
        gated = read.flatten(2) * F.silu(self.gate(hidden))
        grouped = gated.unflatten(-1, (config.groups, -1))
        scale = torch.rsqrt(grouped.square().mean(-1, keepdim=True) + self.epsilon)
        normed = self.norm * (grouped * scale).flatten(2)
        return self.out(normed), Remembered(tail, matrices.flatten(1))

    def _convolve(
        self, raw: Tensor, documents: Tensor, tail: Tensor
    ) -> tuple[Float[Tensor, "rows length channels"], Tensor]:
        """Each channel over the last tokens of its document."""
        before, length = self.config.kernel - 1, raw.shape[1]
        whole = torch.cat([tail.transpose(0, 1), raw], 1)
        ids = F.pad(documents, (before, 0))  # the tail is of the row's first document
        mixed = self.kernel_bias.expand_as(raw)
        for place in range(before + 1):
            same = ids[:, place : place + length] == documents
            seen = whole[:, place : place + length] * same[:, :, None]
            mixed = mixed + seen * self.kernel[:, place]
        # What is left of the tail when another document begins must not be seen after it.
        kept = ids[:, length:] == documents[:, -1:]
        tail = whole[:, length:] * kept[:, :, None] if before else whole[:, length:]
        return mixed, tail.transpose(0, 1)

    def _chunk(
        self,
        value: Float[Tensor, "rows chunk heads width"],
        key: Float[Tensor, "rows chunk groups state"],
        query: Float[Tensor, "rows chunk groups state"],
        step: Float[Tensor, "rows chunk heads"],
        documents: Int[Tensor, "rows chunk"],
        at: Int[Tensor, "rows"],
        matrices: Float[Tensor, "rows heads state width"],
    ) -> tuple[Float[Tensor, "rows chunk heads width"], Tensor]:
        """Read a chunk, of which document `at` goes on with what is in `matrices`."""
        share = self.config.heads // self.config.groups
        key, query = (
            part.repeat_interleave(share, 2).transpose(1, 2) for part in (key, query)
        )  # (rows, heads, chunk, state)
        fall = (-step * self.decay_log.exp()).cumsum(1).transpose(1, 2)  # (rows, heads, chunk)
        scaled = (value * step[..., None]).transpose(1, 2)
        length = documents.shape[1]
        order = torch.ones(length, length, dtype=torch.bool, device=step.device).tril()
        same = (documents[:, :, None] == documents[:, None]) & order
        decay = (fall[..., :, None] - fall[..., None, :]).masked_fill(~same[:, None], -torch.inf)
        inside = (query @ key.transpose(2, 3) * decay.exp()) @ scaled
        going_on = (documents == at[:, None])[:, None]
        reach = fall.masked_fill(~going_on, -torch.inf).exp()[..., None]
        output = inside + reach * (query @ matrices)
        last = decay[:, :, -1].exp()[..., None]  # how much of each token the end still has
        matrices = reach[:, :, -1:] * matrices + (key * last).transpose(2, 3) @ scaled
        return output.transpose(1, 2), matrices
