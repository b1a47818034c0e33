"""Running a comparison, and measuring what came of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from peluche.errors import ConfigError, NumericsError, did_you_mean
from peluche.metrics.comparison import Comparison, compare_statistics
from peluche.metrics.scoring import Measurement
from peluche.metrics.students import mean_interval
from peluche.models.language_model import LanguageModel
from peluche.recipes.base import Recipe, Say, silent
from peluche.studies.checks import OF_LANGUAGE, check_comparison
from peluche.studies.comparison import ComparisonConfig, Variant, recipe_of
from peluche.studies.costs import Memory, Writing, forward_flops, memory, writing_speed
from peluche.studies.runs import Finished, read_finished, run_all
from peluche.studies.trial import Runner, one_by_one
from peluche.tasks.load import load_task

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Trial(Finished):
    """One seed of one variant at one rate; `evaluations` are the metric by step, while training."""

    seed: int
    rate: float
    measurement: Measurement
    evaluations: tuple[tuple[int, float], ...]

    @property
    def score(self) -> float:
        """The metric on what the recipe scores."""
        return float(self.measurement.metric.aggregate(self.measurement.statistics.sum(0)))


@dataclass(frozen=True)
class Diverged:
    """A trial without a score: its loss, or the score itself, was not a finite number."""

    path: Path
    seed: int
    rate: float
    score: None = None


@dataclass(frozen=True)
class Costs:
    """What was asked for of: operations per token, memory of a text, speed of writing."""

    flops: float | None = None
    memory: Memory | None = None
    writing: Writing | None = None


@dataclass(frozen=True)
class VariantResult:
    """All seeds of one variant.

    Attributes:
        sweep: the first seed at each rate that was tried; the best of them is among `trials`.
        trials: all seeds at that rate; none if all rates diverged.
        over_seeds: the mean difference from the first variant, seed by seed, and its interval.
        over_text: the difference of all seeds together, paired over what is scored; None where
            that is not cut into the same pieces, such as rows of another length.
    """

    variant: Variant
    sweep: tuple[Trial | Diverged, ...]
    trials: tuple[Trial | Diverged, ...]
    over_seeds: tuple[float, Interval | None] | None
    over_text: Comparison | None
    costs: Costs

    @property
    def scored(self) -> tuple[Trial, ...]:
        """All seeds, or none if one of them diverged: the mean of the others would flatter."""
        return _scored(self.trials)

    @property
    def runs(self) -> tuple[Trial | Diverged, ...]:
        """All that was run, each once."""
        return tuple({one.path: one for one in (*self.sweep, *self.trials)}.values())

    @property
    def score(self) -> float | None:
        """The mean of seeds."""
        return fmean(trial.score for trial in self.scored) if self.scored else None

    @property
    def interval(self) -> Interval | None:
        """95 % of that mean, over seeds; None if there is one only."""
        return mean_interval([trial.score for trial in self.scored])

    @property
    def at_the_edge(self) -> bool:
        """Whether the rate that was kept is the lowest or the highest of several."""
        tried = sorted(trial.rate for trial in self.sweep)
        return len(tried) > 1 and any(trial.rate in (tried[0], tried[-1]) for trial in self.trials)


def run_comparison(
    folder: Path,
    config: ComparisonConfig,
    changes: Sequence[str] = (),
    say: Say = silent,
    run: Runner = one_by_one,
) -> list[VariantResult]:
    """Run what is not finished yet: all rates with the first seed, then the other seeds; measure.

    Rates that diverge are not chosen.

    Args:
        folder: gets a run directory per trial.
        changes: `key=value`, made to the recipes of all variants.
        run: runs trials, one after another or spread over machines (`peluche.studies.spread`).

    Raises:
        ConfigError: the folder holds a study with other settings; or see `check_comparison`.
        Stopped, CheckpointError: see `one_by_one`.
    """
    sweeps = [
        [recipe_of(config, variant, changes, 0, rate) for rate in variant.rates or (None,)]
        for variant in config.variants
    ]
    firsts = [recipe for recipes in sweeps for recipe in recipes]
    check_comparison(config, [recipes[0] for recipes in sweeps])
    run_all(folder, firsts, say, run)
    say("measuring the first seed")
    tried = [tuple(_trial(folder, recipe, config.metric) for recipe in found) for found in sweeps]
    kept = [best(trials) for trials in tried]
    others = [
        [
            recipe_of(config, variant, changes, seed, first.rate if variant.rates else None)
            for seed in range(1, config.seeds)
        ]
        if first
        else []
        for variant, first in zip(config.variants, kept, strict=True)
    ]
    rest = [recipe for recipes in others for recipe in recipes]
    run_all(folder, sorted(rest, key=lambda recipe: recipe.training.seed), say, run)
    say("measuring")
    by_variant = [
        (first, *(_trial(folder, recipe, config.metric) for recipe in recipes)) if first else ()
        for first, recipes in zip(kept, others, strict=True)
    ]
    scored = [_scored(trials) for trials in by_variant]
    costs = _costs(config, scored)
    return [
        VariantResult(variant, sweep, trials, *_against(scored[0], measured), cost)
        for variant, sweep, trials, measured, cost in zip(
            config.variants, tried, by_variant, scored, costs, strict=True
        )
    ]


def check_scored(results: Sequence[VariantResult]) -> None:
    """Whether every variant has a score.

    Raises:
        NumericsError: one has none, with the runs that diverged.
    """
    lost = [result for result in results if result.score is None]
    if lost:
        names = [one.path.name for result in lost for one in result.runs if one.score is None]
        raise NumericsError(
            f"{', '.join(result.variant.name for result in lost)} without a score, for these runs "
            f"diverged: {', '.join(names)}",
            where=lost[0].runs[0].path.parent,
            remedy="lower their learning rates; all else is kept. To run one again, delete its "
            "folder",
        )


def best(trials: Sequence[Trial | Diverged]) -> Trial | None:
    """The one with the best score; None if all diverged."""
    scored = [trial for trial in trials if isinstance(trial, Trial)]
    if not scored:
        return None
    pick = max if scored[0].measurement.metric.better == "higher" else min
    return pick(scored, key=lambda trial: trial.score)


def _scored(trials: Sequence[Trial | Diverged]) -> tuple[Trial, ...]:
    """All trials, or none if one of them has no score."""
    scored = tuple(trial for trial in trials if isinstance(trial, Trial))
    return scored if len(scored) == len(trials) else ()


def _trial(folder: Path, recipe: Recipe, name: str) -> Trial | Diverged:
    """A finished trial, scored if it can be."""
    path = folder / "runs" / recipe.name
    diverged = Diverged(path, recipe.training.seed, recipe.optimizer.lr)
    try:
        finished, summary = read_finished(path)
    except NumericsError:
        return diverged
    found = {one.metric.name: one for one in load_task(finished.path).evaluate().measurements}
    if name not in found:
        raise ConfigError(
            f"this trial was not scored by {name}",
            where=finished.path,
            remedy=did_you_mean(name, found),
        )
    events = summary.evaluations
    trial = Trial(
        **vars(finished),
        seed=recipe.training.seed,
        rate=recipe.optimizer.lr,
        measurement=found[name],
        evaluations=tuple((one["step"], float(one[name])) for one in events if name in one),
    )
    return trial if math.isfinite(trial.score) else diverged


def _against(
    first: Sequence[Trial], trials: Sequence[Trial]
) -> tuple[tuple[float, Interval | None] | None, Comparison | None]:
    """How trials differ from those of the first variant, where both have scores."""
    if trials is first or not first or not trials:
        return None, None
    pairs = list(zip(first, trials, strict=True))
    differences = [after.score - before.score for before, after in pairs]
    # What is scored is drawn again, seeds are not: a segment's statistics are their sum over seeds.
    before, after = (
        np.sum([trial.measurement.statistics for trial in some], axis=0) for some in (first, trials)
    )
    over_seeds = fmean(differences), mean_interval(differences)
    if before.shape != after.shape:
        return over_seeds, None
    return over_seeds, compare_statistics(
        first[0].measurement.metric, (first[0].path.name, before), (trials[0].path.name, after)
    )


def _costs(config: ComparisonConfig, scored: Sequence[Sequence[Trial]]) -> list[Costs]:
    """Of each variant's first trained model, if it has one."""
    if not set(config.columns) & set(OF_LANGUAGE):
        return [Costs() for _ in scored]
    tasks = {trials[0].path.name: load_task(trials[0].path) for trials in scored if trials}
    written: dict[str, Writing] = {}
    if "writing" in config.columns:
        models: dict[str, LanguageModel] = {name: task.model for name, task in tasks.items()}
        written = writing_speed(models, config.writing)
    found = {
        name: Costs(
            forward_flops(task.model, task.packing.length) if "flops" in config.columns else None,
            memory(task.model) if "memory" in config.columns else None,
            written.get(name),
        )
        for name, task in tasks.items()
    }
    return [found[trials[0].path.name] if trials else Costs() for trials in scored]
