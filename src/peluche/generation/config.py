"""How to turn a model's distributions into text: the settings of every search."""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field, model_validator

from peluche.config import Config
from peluche.generation.sampling import SamplingParameters


class DecodingConfig(Config):
    """Settings of a search; the defaults are beam search as translation uses it."""

    kind: Literal["greedy", "beam", "sample", "contrastive"] = "beam"
    beams: int = Field(5, gt=0, description="hypotheses followed at a time; one: greedy search")
    n_best: int = Field(1, gt=0, description="results per sentence")
    length_normalization: Literal["average", "gnmt"] = Field(
        "average", description="what a log-probability is divided by: length^α, or ((5+length)/6)^α"
    )
    length_penalty: float = Field(1.0, ge=0, description="the α above; 0 switches it off")
    max_length_factor: float = Field(
        1.5, ge=0, description="a in: at most a·source + b tokens before [EOS]"
    )
    max_length_offset: int = Field(10, ge=1, description="b in: at most a·source + b tokens")
    max_length: int = Field(512, gt=0, description="cap on a·source + b, and on source tokens")
    batch_tokens: int = Field(
        4096, gt=0, description="padded source tokens × hypotheses decoded at a time"
    )
    sampling: SamplingParameters = SamplingParameters()
    candidates: int = Field(4, ge=2, description="likeliest tokens that contrastive search weighs")
    penalty_alpha: float = Field(
        0.6, ge=0, le=1, description="α: how much contrastive search minds what is like before"
    )

    @model_validator(mode="after")
    def _n_best_fits(self) -> Self:
        if self.kind in ("greedy", "contrastive") and self.n_best > 1:
            raise ValueError(
                f"{self.kind} search has one result, not n_best {self.n_best}; "
                "use kind 'beam' or 'sample'"
            )
        if self.kind == "beam" and self.n_best > self.beams:
            raise ValueError(
                f"n_best {self.n_best} is more than beams {self.beams}; "
                f"nearest that fit: n_best {self.beams}, or beams {self.n_best}"
            )
        return self

    @property
    def rows(self) -> int:
        """Hypotheses followed at a time for one sentence."""
        rows = {"beam": self.beams, "sample": self.n_best, "contrastive": self.candidates}
        return rows.get(self.kind, 1)

    def limit(self, source: int, prefix: int = 0) -> int:
        """The most tokens of a translation, [EOS] included, for `source` tokens without [EOS].

        A forced prefix always fits, with [EOS] after it.
        """
        free = int(self.max_length_factor * source) + self.max_length_offset
        return max(min(free, self.max_length), prefix) + 1

    def normaliser(self, length: int | torch.Tensor) -> torch.Tensor:
        """What the log-probability of `length` tokens, [EOS] included, is divided by.

        "average" is fairseq's length^α; "gnmt" is Wu et al. 2016, eq. 14.
        """
        tokens = torch.as_tensor(length, dtype=torch.float32)
        base = tokens if self.length_normalization == "average" else (5 + tokens) / 6
        return base**self.length_penalty
