"""From epochs or minutes to a number of steps, before the first one."""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING

from peluche.training.states import kept_random_state

if TYPE_CHECKING:
    from peluche.training.loop import Trainer

WARM, TIMED = 2, 8


def total_steps(trainer: Trainer) -> int:
    """How many steps the recipe asks for; a time budget is measured out with a few steps."""
    config = trainer.config
    if config.steps is not None:
        return config.steps
    if config.epochs is not None:
        per_epoch = trainer.stream.batches_per_epoch() / config.accumulate
        return max(1, round(config.epochs * per_epoch))
    assert config.minutes is not None, "the recipe gives steps, epochs or minutes"
    seconds = seconds_per_step(trainer)
    total = trainer.processes.agree(max(1, int(config.minutes * 60 / seconds)))
    trainer.say(f"{seconds:.3f} s a step: {total:,} steps in {config.minutes:g} minutes")
    return total


def seconds_per_step(trainer: Trainer) -> float:
    """Mean seconds of a step, optimizer included, measured without changing anything."""
    optimizer = trainer.optimizer
    before = copy.deepcopy(optimizer.state_dict())
    # A rate of 0 keeps the optimizer from moving them, but not what an objective does after a step.
    weights = {name: tensor.clone() for name, tensor in trainer.replica.tensors().items()}
    with kept_random_state():
        batches = trainer.stream.batches(trainer.position)
        times = []
        for _ in range(WARM + TIMED):
            started = time.perf_counter()
            step = [next(batches)[0] for _ in range(trainer.config.accumulate)]
            for group in optimizer.param_groups:
                group["lr"] = 0.0
            trainer.learn(step, rate=0.0)
            times.append(time.perf_counter() - started)
    optimizer.zero_grad(set_to_none=True)
    optimizer.load_state_dict(before)
    trainer.replica.load(weights)
    return sum(times[WARM:]) / TIMED
