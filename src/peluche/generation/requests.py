"""What somebody wants to have written."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from peluche.config import Config
from peluche.generation.sampling import SamplingParameters


class GenerationRequest(Config):
    """A prompt, and how to go on with it."""

    tokens: tuple[int, ...]
    max_tokens: int = Field(gt=0)
    sampling: SamplingParameters = SamplingParameters()
    stream: int = 0
    guide: Any = None
    logprobs: int = 0
    ignore_eos: bool = False
