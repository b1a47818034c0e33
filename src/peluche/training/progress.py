"""The live line: loss, rate, time left, and a sentence that the model learns to translate."""

from __future__ import annotations

import sys
import time

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from peluche.training.events import EvaluateEvent, Hook, StepEvent
from peluche.training.loop import Trainer


class Progress(Hook):
    """Shows training on a terminal; elsewhere prints one line per evaluation."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(file=sys.stderr, highlight=False)
        self.live: Live | None = None
        self.evaluation = Text("")
        self.samples: list[tuple[int, str, str]] = []
        self.loss = self.rate = 0.0

    def start(self, trainer: Trainer) -> None:
        self.total, self.first, self.began = trainer.total, trainer.step, time.monotonic()
        self.tokens = self.seconds = 0.0
        if self.console.is_terminal:
            self.live = Live(console=self.console, refresh_per_second=4, transient=False)
            self.live.start()

    def step(self, event: StepEvent) -> None:
        # Averages forget with a time constant of about 30 steps.
        self.tokens = 0.97 * self.tokens + event.tokens
        self.seconds = 0.97 * self.seconds + event.seconds
        loss = event.values["loss"]
        self.loss = loss if event.step == self.first + 1 else 0.95 * self.loss + 0.05 * loss
        if self.live is not None:
            self.live.update(self._render(event))

    def _render(self, event: StepEvent) -> Group:
        done = event.step - self.first
        left = (time.monotonic() - self.began) / done * (self.total - event.step)
        line = Table.grid(padding=(0, 2))
        line.add_row(
            ProgressBar(total=self.total, completed=event.step, width=24),
            f"step {event.step}/{self.total}",
            f"loss {self.loss:.3f}",
            f"{self.tokens / self.seconds:,.0f} tokens/s",
            f"{_clock(left)} left",
            self.evaluation,
        )
        return Group(line, *self._sample_lines())

    def _sample_lines(self) -> list[Text]:
        if not self.samples:
            return []
        lines = [Text(f"  {self.samples[-1][1]}", style="bold")]
        for step, _, translation in self.samples[-4:]:
            lines.append(Text(f"  step {step:>6}  {translation}", style="cyan"))
        return lines

    def evaluate(self, event: EvaluateEvent) -> None:
        figures = "  ".join(
            f"{name} {value:.4g}" for name, value in event.metrics.items() if name != "seconds"
        )
        self.samples += [(event.step, source, said) for source, said in event.samples[:1]]
        if self.live is not None:
            self.evaluation = Text(figures)
            return
        said = f"  {event.samples[0][1]!r}" if event.samples else ""
        self.console.print(
            f"step {event.step}/{self.total}  train loss {self.loss:.3f}  "
            f"{self.tokens / max(self.seconds, 1e-9):,.0f} tokens/s  {figures}{said}",
            soft_wrap=True,
        )

    def stop(self, reason: str) -> None:
        if self.live is not None:
            self.live.stop()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
