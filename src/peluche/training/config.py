"""How a model is trained, as far as the loop is concerned."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from peluche.config import Config
from peluche.training.averaging import AveragingConfig
from peluche.training.replica import ParallelConfig, ReplicatedConfig


class TrainingConfig(Config):
    """How long, how often, and from which seed."""

    steps: int | None = Field(None, gt=0, description="optimizer steps")
    epochs: float | None = Field(None, gt=0, description="passes over the corpus")
    minutes: float | None = Field(
        None, gt=0, description="time budget; turned into steps by timing a few of them first"
    )
    accumulate: int = Field(1, gt=0, description="micro-batches per optimizer step")
    clip: float | None = Field(1.0, gt=0, description="largest gradient norm")
    evaluate_every: int = Field(500, gt=0)
    checkpoint_every: int = Field(500, gt=0)
    log_every: int = Field(20, gt=0)
    keep: int = Field(2, gt=0, description="training states kept on disk")
    seed: int = Field(0, ge=0)
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: int | None = Field(None, gt=0, description="CPU threads; all cores if not given")
    parallel: ParallelConfig = Field(
        ReplicatedConfig(), description="among the processes that torchrun starts"
    )
    checkpointing: bool = Field(
        False, description="compute layers again in the backward pass instead of keeping them"
    )
    compile: bool = Field(False, description="compile layers with torch.compile")
    averaging: AveragingConfig | None = None
    select: str = Field("last", description="'last', or a validation metric: the best by it")
    patience: int | None = Field(
        None, gt=0, description="stop after so many evaluations without a better `select`"
    )
