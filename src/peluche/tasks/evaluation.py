"""What every task can do besides its own: be measured on examples whose answer is known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from peluche.data.selection import SkipReport
from peluche.errors import ConfigError
from peluche.metrics import Comparison, Measurement, Score, compare_measurements
from peluche.metrics.scoring import scores_of

Say = Callable[[str], None]


@dataclass(frozen=True)
class EvaluationSettings:
    """What a run's recipe says of its evaluation.

    Attributes:
        train: configuration of the source of training examples.
        source: of the test examples, or of the validation examples where there are none.
        options: further settings, such as metrics and their tokenisation.
    """

    train: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> EvaluationSettings:
        """Out of a run's config."""
        data = config.get("data") or {}
        return cls(
            train=data.get("train") or {},
            source=data.get("test") or data.get("validation") or {},
            options=config.get("evaluation") or {},
        )


@dataclass(frozen=True)
class Evaluation:
    """What a model made of some examples.

    Attributes:
        measurements: one per metric, the most important first.
        examples: for each example what went in ("source"), what should come out ("reference"), and
            what came out ("output").
        seconds: how long the model took.
        labels: the classes in the order that a table of confusions should have, if `reference` and
            `output` are classes.
    """

    measurements: Sequence[Measurement]
    examples: Sequence[Mapping[str, str]]
    seconds: float
    labels: Sequence[str] | None = None

    def scores(self, bootstrap: int = 1000, seed: int = 12345) -> list[Score]:
        """Every metric with its 95 % bootstrap interval.

        Raises:
            ConfigError: if `bootstrap` is negative.
        """
        return scores_of(self.measurements, bootstrap, seed)

    def against(
        self,
        other: Evaluation,
        names: tuple[str, str] = ("this model", "the other"),
        bootstrap: int = 1000,
        seed: int = 12345,
    ) -> list[Comparison]:
        """Paired significance of this model's difference from `other` on the same examples.

        Args:
            names: of this model and of the other.

        Raises:
            ConfigError: if `bootstrap` is under 1.
            DataError: if they were not measured on as many examples, or by different metrics.
        """
        return compare_measurements(
            (names[1], other.measurements),
            (names[0], self.measurements),
            bootstrap=bootstrap,
            seed=seed,
        )


class ExampleSource(Protocol):
    """Where examples come from."""

    def read(self, skipped: SkipReport | None = None) -> Iterator[Any]: ...

    def model_dump(self, *, mode: str = "python") -> dict[str, Any]: ...


class Evaluable(ABC):
    """A task that can be measured. Subclasses say which files they read, and what they measure.

    Attributes:
        settings: what the run's recipe says; a loader fills them in.
    """

    settings: EvaluationSettings = EvaluationSettings()

    @abstractmethod
    def source(self, names: Sequence[str], **options: Any) -> ExampleSource:
        """The source of examples that a command line means.

        Args:
            names: a catalogue entry or files; none for the run's own test or validation set.
            options: `split`, `variant`, `encoding`, `columns`, `limit`, ... in place of what the
                run's own source says.

        Raises:
            ConfigError, DataError: if it cannot be told what is meant.
        """

    @abstractmethod
    def measure(self, examples: Sequence[Any]) -> Evaluation:
        """Do the task on examples of `source` and measure it.

        Raises:
            DataError: if an example does not fit the model, such as a label it never saw.
        """

    def check(self, examples: Sequence[Any]) -> None:  # noqa: B027
        """See that examples of `source` fit the model; what cannot be told early, `measure` says.

        Raises:
            DataError: one does not.
        """

    def check_against(self, other: Any, examples: Sequence[Any]) -> None:
        """See that another task can be compared with this one on these examples.

        Raises:
            ConfigError: it does something else.
            DataError: examples do not fit it.
        """
        if type(other) is not type(self):
            names = [type(task).__name__ for task in (self, other)]
            raise ConfigError(
                f"a {names[0]} and a {names[1]} cannot be compared",
                remedy="compare models of one task",
            )
        other.check(examples)

    def evaluate(
        self, *names: str | Path, say: Say = lambda message: None, **options: Any
    ) -> Evaluation:
        """Measure the task on a corpus, by default on the run's own test or validation set.

        Args:
            names, options: as for `source`.
            say: told how many examples were skipped because they are empty.

        Raises:
            ConfigError, DataError: as `source` and `measure`; or if nothing can be read.
        """
        source = self.source([str(name) for name in names], **options)
        return self.measure(read_examples(source, say))

    def like(self, names: Sequence[str]) -> Mapping[str, Any]:
        """The configuration of the run's own source, as which others are read; may be empty.

        Raises:
            ConfigError: without names, if the run names no test or validation data.
        """
        if not names and not self.settings.source:
            raise ConfigError(
                "this model's run names no test or validation data", remedy="name a file"
            )
        return self.settings.source or self.settings.train


def read_examples(source: Any, say: Say = lambda message: None) -> list[Any]:
    """All examples of a source; says how many were skipped because they are empty.

    Raises:
        DataError: there is none, or something is wrong with one.
    """
    skipped = SkipReport()
    examples = list(source.read(skipped))
    if skipped.empty:
        say(str(skipped))
    return examples
