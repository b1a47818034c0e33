"""What language models cost: operations, memory of what was read, speed of writing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median
from typing import Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from peluche.config import Config
from peluche.errors import ConfigError
from peluche.generation.decoder import LanguageDecoder
from peluche.models.costs import token_flops
from peluche.models.language_model import LanguageModel
from peluche.nn.state import RecurrentState
from peluche.tasks.modes import evaluating


class Memory(NamedTuple):
    """What a model remembers of a text it has read, in bytes."""

    per_token: int
    fixed: int


class WritingTest(Config):
    """What writing is timed on.

    Attributes:
        rows: texts at a time.
        context: tokens of each that have been read before.
        tokens: that are then written.
        rounds: how often every model does so, in turn.
    """

    rows: int = Field(8, gt=0)
    context: int = Field(256, gt=0)
    tokens: int = Field(32, gt=0)
    rounds: int = Field(7, gt=0)


class Writing(NamedTuple):
    """Tokens written a second, the median of rounds; and how many times as fast as the first model,
    the median of each round's ratio, which suffers less from what else the machine does."""

    tokens_per_second: float
    ratio: float


def forward_flops(model: nn.Module, length: int) -> float:
    """Floating-point operations per token of reading a row of `length` tokens.

    Counted as `token_flops` counts those of training, a third of which is the forward pass.
    """
    return token_flops(model, length) / 3


def memory(model: LanguageModel) -> Memory:
    """What a state of one row takes: exactly, in the type of the model's weights.

    Of a recurrent model it is what it goes on from; to be able to go back, `RecurrentState` keeps
    what there was before as well.
    """
    one, two = (_bytes(model.start_state(1, capacity)) for capacity in (1, 2))
    return Memory(two - one, 2 * one - two)


def _bytes(state: Any) -> int:
    held: list[Tensor] = (
        list(state.view().values())
        if isinstance(state, RecurrentState)
        else [state.keys, state.values]
    )
    return sum(tensor.numel() * tensor.element_size() for tensor in held)


def check_writing(name: str, model: LanguageModel, test: WritingTest) -> None:
    """Raise ConfigError unless a model can read texts as long as those that writing is timed on."""
    needed = test.context + test.tokens
    if model.longest is not None and needed > model.longest:
        raise ConfigError(
            f"{name} reads {model.longest} tokens at most, and writing is timed on {needed}",
            remedy="lower writing.context",
        )


def writing_speed(models: Mapping[str, LanguageModel], test: WritingTest) -> dict[str, Writing]:
    """How fast models write, token by token, each in turn, so that all see the same machine.

    Raises:
        ConfigError: a model cannot read texts that long.
    """
    for name, model in models.items():
        check_writing(name, model, test)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(test.rounds + 1):
        for name, model in models.items():
            seconds[name].append(_write(model, test))
    # The first round warms up.
    rounds = list(zip(*(found[1:] for found in seconds.values()), strict=True))
    written = test.rows * test.tokens
    return {
        name: Writing(
            written / median(one[place] for one in rounds),
            median(one[0] / one[place] for one in rounds),
        )
        for place, name in enumerate(models)
    }


@torch.inference_mode()
def _write(model: LanguageModel, test: WritingTest) -> float:
    """Seconds for the tokens after the context; what they are does not matter."""
    text = torch.arange(test.rows * test.context).view(test.rows, test.context) % model.vocabulary
    with evaluating(model):
        decoder = LanguageDecoder(model)
        decoding = decoder.start(text, torch.ones_like(text, dtype=torch.bool), 1, test.tokens)
        tokens = text[:, -1]
        started = time.perf_counter()
        for _ in range(test.tokens):
            tokens = decoding.step(tokens).argmax(-1)
        return time.perf_counter() - started
