"""What language models cost: operations, memory of what was read, speed of writing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median
from typing import Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from peluche.config import Config
from peluche.errors import ConfigError
from peluche.generation.decoder import LanguageDecoder
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


@torch.no_grad()
def forward_flops(model: LanguageModel, length: int) -> float:
    """Floating-point operations per token of reading a row of `length` tokens.

    Counted while it is read: matrix products only, two operations a multiply-add, the output
    projection among them. Of a mixture of experts those count that are used. Matrices of scores
    count whole, though a causal kernel may leave out half.

    Raises:
        ConfigError: the model has a fused recurrent net, whose products are not seen.
    """
    if any(isinstance(module, nn.RNNBase) for module in model.modules()):
        raise ConfigError(
            "the operations of torch's recurrent nets cannot be counted",
            remedy="leave flops out of columns",
        )
    grouped = torch.ops.aten._grouped_mm
    counter = FlopCounterMode(display=False, custom_mapping={grouped: _grouped_flops})
    tokens = torch.zeros(1, length, dtype=torch.int64, device=model.head.weight.device)
    with evaluating(model), sdpa_kernel(SDPBackend.MATH), counter:
        model.logits(model.hidden(tokens))
    return float(counter.get_total_flops() / length)


def _grouped_flops(rows: Any, matrices: Any, *_: Any, **__: Any) -> int:
    """Of (T, K) rows, each by one of the (E, K, N) matrices; the arguments are shapes."""
    tokens, inner = rows
    return int(2 * tokens * inner * matrices[-1])


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


def writing_speed(models: Mapping[str, LanguageModel], test: WritingTest) -> dict[str, Writing]:
    """How fast models write, token by token, each in turn, so that all see the same machine.

    Raises:
        ConfigError: a model cannot read texts that long.
    """
    for name, model in models.items():
        needed = test.context + test.tokens
        if model.longest is not None and needed > model.longest:
            raise ConfigError(
                f"{name} reads {model.longest} tokens at most, and writing is timed on {needed}",
                remedy="lower writing.context",
            )
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
