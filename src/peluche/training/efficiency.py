"""What a run makes of its machine, and whether it reached what was predicted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from peluche.hub.run import RunDirectory
from peluche.nn.machine import peak_memory, product_rate
from peluche.training.events import EvaluateEvent, Hook, StepEvent

if TYPE_CHECKING:
    from peluche.training.loop import Trainer


class Efficiency(Hook):
    """Logs tokens/s, operations, their share of the machine and memory between evaluations.

    Event `efficiency`: `flops` are structural (see `token_flops`); `mfu` is flops a second over
    the rate of large matrix products on this machine in the run's precision (model FLOPs
    utilisation, Chowdhery et al. 2022, §4.1, against a measured peak); `peak_bytes` is the
    process's memory, or the GPU's. Evaluations are not in it.

    Args:
        flops: of training per target token.
    """

    def __init__(self, run: RunDirectory, flops: float) -> None:
        self.run, self.flops = run, flops

    def start(self, trainer: Trainer) -> None:
        low = trainer.config.precision == "bfloat16"
        self.device = trainer.device
        rate = product_rate(self.device, torch.bfloat16 if low else torch.float32)
        self.rate = rate * trainer.processes.count
        self.step_number = trainer.step
        self.tokens, self.seconds = 0, 0.0

    def step(self, event: StepEvent) -> None:
        self.step_number = event.step
        self.tokens += event.tokens
        self.seconds += event.seconds

    def evaluate(self, event: EvaluateEvent) -> None:
        self._write()

    def stop(self, reason: str) -> None:
        self._write()

    def _write(self) -> None:
        if not self.tokens:
            return
        speed = self.tokens / self.seconds
        self.run.log(
            {
                "event": "efficiency",
                "step": self.step_number,
                "tokens_per_second": speed,
                "flops": self.tokens * self.flops,
                "mfu": speed * self.flops / self.rate,
                "product_rate": self.rate,
                "peak_bytes": peak_memory(self.device),
            }
        )
        self.tokens, self.seconds = 0, 0.0


class Forecast(Hook):
    """Logs the predicted loss and the last one measured, once training has finished.

    Event `forecast`: `predicted`, `reached`, and `error`, predicted / reached − 1.

    Args:
        metric: what was predicted.
    """

    def __init__(
        self, run: RunDirectory, predicted: float, say: Callable[[str], None], metric: str = "nll"
    ) -> None:
        self.run, self.predicted, self.say, self.metric = run, predicted, say, metric
        self.reached: float | None = None

    def evaluate(self, event: EvaluateEvent) -> None:
        self.reached = event.metrics[self.metric]

    def stop(self, reason: str) -> None:
        if reason != "finished" or self.reached is None:
            return
        error = self.predicted / self.reached - 1
        self.run.log(
            {
                "event": "forecast",
                "predicted": self.predicted,
                "reached": self.reached,
                "error": error,
            }
        )
        self.say(f"predicted loss {self.predicted:.3f}, reached {self.reached:.3f} ({error:+.1%})")
