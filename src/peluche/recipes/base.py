"""What every recipe has: one run, from raw data to scores, in one YAML file."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from peluche.config import Config
from peluche.errors import did_you_mean
from peluche.hub.run import RunDirectory
from peluche.metrics import Score
from peluche.objectives.base import Objective, UpdatingObjective
from peluche.tasks.evaluation import Evaluable, ExampleSource, read_examples
from peluche.training.config import TrainingConfig
from peluche.training.events import Hook
from peluche.training.loop import Evaluator, Stream
from peluche.training.optimizers import OptimizerConfig
from peluche.training.schedules import InverseSqrt, Schedule

Say = Callable[[str], None]


def silent(message: str) -> None:
    """Say nothing."""


@contextmanager
def phase(run: RunDirectory, name: str, say: Say) -> Iterator[None]:
    """Time a phase; say and log how long it took."""
    started = time.perf_counter()
    yield
    seconds = time.perf_counter() - started
    say(f"{name}: {seconds:.1f} s")
    run.log({"event": "phase", "name": name, "seconds": seconds})


def log_test(
    run: RunDirectory, source: ExampleSource, task: Evaluable, say: Say, **facts: Any
) -> tuple[list[Score], list[dict[str, Any]]]:
    """Measure a task on a source and log the scores, with further facts.

    Returns:
        The scores, and what was said of each example.
    """
    found = task.measure(read_examples(source, say))
    scores = found.scores()
    run.log(
        {
            "event": "test",
            "data": source.model_dump(mode="json"),
            **facts,
            "scores": [item.as_json() for item in scores],
            "examples": len(found.examples),
            "seconds": found.seconds,
        }
    )
    return scores, [dict(example) for example in found.examples]


class Expected(Config):
    """A figure that the recipe reaches, within a tolerance; documented and checked, not used."""

    metric: str
    value: float
    tolerance: float = Field(gt=0)
    split: str = "test"
    machine: str = ""


@dataclass(frozen=True)
class Assembly:
    """What the loop needs of a recipe.

    Attributes:
        facts: numbers worth saying and logging, e.g. the size of the vocabulary.
        hooks: what this recipe logs besides what every run does.
    """

    model: nn.Module
    objective: Objective | UpdatingObjective
    stream: Stream
    evaluator: Evaluator
    facts: dict[str, int] = field(default_factory=dict)
    hooks: Sequence[Hook] = ()


class Recipe(Config):
    """One run, from raw data to scores. Each task has its own, told apart by `task`."""

    name: str
    description: str = ""
    task: str
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: Schedule = InverseSqrt()
    training: TrainingConfig
    expected: tuple[Expected, ...] = ()

    @model_validator(mode="after")
    def _length_given(self) -> Self:
        given = [self.training.steps, self.training.epochs, self.training.minutes]
        if sum(value is not None for value in given) != 1:
            raise ValueError(
                "training needs one of steps, epochs or minutes, and only one "
                "(set the others to null to change it)"
            )
        known = {"last", *self.measured()}
        if self.training.select not in known:
            raise ValueError(
                f"training.select is '{self.training.select}', which the evaluation does not "
                f"measure; {did_you_mean(self.training.select, known)}"
            )
        return self

    def completed(self) -> Self:
        """The recipe with what is known only once a model is opened that it starts from.

        Raises:
            ConfigError: a model to start from is none that the recipe can start from.
            CheckpointError: it is not there, or damaged.
        """
        return self

    @abstractmethod
    def measured(self) -> set[str]:
        """The validation metrics that weights may be selected by."""

    @abstractmethod
    def assemble(self, run: RunDirectory, device: torch.device, say: Say) -> Assembly:
        """Read the data and build what is trained; what is learnt before training goes into `run`.

        Raises:
            DataError: the data cannot be read.
        """

    def finish(self, run: RunDirectory, parts: Assembly) -> None:
        """What is to be done once, with the model's final weights; nothing for most."""

    def tested(self) -> ExampleSource | None:
        """What is scored in the end: the test set, else the validation set; None for nothing."""
        data: Any = self.data  # type: ignore[attr-defined]
        found: ExampleSource = data.test or data.validation
        return found

    @abstractmethod
    def scored(self) -> set[str]:
        """The metrics that `tested` is scored by; what follows from data is read for them.

        Raises:
            DataError: the data cannot be read.
        """

    def evaluate(
        self, run: RunDirectory, task: Any, say: Say
    ) -> tuple[list[Score], list[dict[str, Any]]]:
        """Scores of what is tested, logged, and what was said of each example."""
        source = self.tested()
        return ([], []) if source is None else log_test(run, source, task, say)
