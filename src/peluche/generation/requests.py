"""What is asked of a model: a prompt, how to choose tokens, and when to stop."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from peluche.config import Config
from peluche.generation.guides import GuideConfig
from peluche.generation.sampling import SamplingParameters


class GenerationRequest(Config):
    """One text to go on with, apart from all others in its batch."""

    tokens: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        min_length=1, description="the prompt; what is written comes after it"
    )
    max_tokens: int = Field(ge=1, description="the most to write, [EOS] included")
    sampling: SamplingParameters = SamplingParameters()
    read: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None, description="what penalties take for the prompt, where that is something else"
    )
    said: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (), description="what penalties take for said already"
    )
    stream: int = Field(0, ge=0, description="tells requests of equal seed apart")
    guide: GuideConfig | None = Field(None, description="what the text has to be like")
    logprobs: int = Field(
        0, ge=0, le=100, description="how many of the likeliest tokens to report at each step"
    )
    ignore_eos: bool = Field(False, description="write max_tokens: [EOS] is never chosen")

    @model_validator(mode="after")
    def _can_end(self) -> Self:
        if self.ignore_eos and self.guide is not None:
            raise ValueError("a guide ends with [EOS]: leave ignore_eos or the guide out")
        return self
