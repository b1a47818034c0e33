"""Running a comparison, and measuring what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from peluche.errors import ConfigError, did_you_mean
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
        over_seeds: the mean difference from the first variant, seed by seed, and its interval.
        over_text: the difference of all seeds together, paired over what is scored; None where
            that is not cut into the same pieces, such as rows of another length.
    """

    variant: Variant
    sweep: tuple[Trial, ...]
    trials: tuple[Trial, ...]
    over_seeds: tuple[float, Interval | None] | None
    over_text: Comparison | None
    costs: Costs

    @property
    def score(self) -> float:
        """The mean of seeds."""
        return fmean(trial.score for trial in self.trials)

    @property
    def interval(self) -> Interval | None:
        """95 % of that mean, over seeds; None if there is one only."""
        return mean_interval([trial.score for trial in self.trials])

    @property
    def at_the_edge(self) -> bool:
        """Whether the rate that was kept is the lowest or the highest of several."""
        tried = sorted(trial.rate for trial in self.sweep)
        return len(tried) > 1 and self.trials[0].rate in (tried[0], tried[-1])


def run_comparison(
    folder: Path,
    config: ComparisonConfig,
    changes: Sequence[str] = (),
    say: Say = silent,
    run: Runner = one_by_one,
) -> list[VariantResult]:
    """Run what is not finished yet: all rates with the first seed, then the other seeds; measure.

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
            recipe_of(config, variant, changes, seed, trial.rate if variant.rates else None)
            for variant, trial in zip(config.variants, kept, strict=True)
        ]
        for seed in range(1, config.seeds)
    ]
    run_all(folder, [recipe for recipes in others for recipe in recipes], say, run)
    say("measuring")
    by_seed = [kept, *([_trial(folder, one, config.metric) for one in seed] for seed in others)]
    by_variant = list(zip(*by_seed, strict=True))
    costs = _costs(config, [trials[0].path for trials in by_variant])
    return [
        VariantResult(variant, sweep, trials, *_against(by_variant[0], trials), cost)
        for variant, sweep, trials, cost in zip(
            config.variants, tried, by_variant, costs, strict=True
        )
    ]


def best(trials: Sequence[Trial]) -> Trial:
    """The one with the best score."""
    pick = max if trials[0].measurement.metric.better == "higher" else min
    return pick(trials, key=lambda trial: trial.score)


def _trial(folder: Path, recipe: Recipe, name: str) -> Trial:
    """A finished trial, scored."""
    finished, summary = read_finished(folder / "runs" / recipe.name)
    found = {one.metric.name: one for one in load_task(finished.path).evaluate().measurements}
    if name not in found:
        raise ConfigError(
            f"this trial was not scored by {name}",
            where=finished.path,
            remedy=did_you_mean(name, found),
        )
    events = summary.evaluations
    return Trial(
        **vars(finished),
        seed=recipe.training.seed,
        rate=recipe.optimizer.lr,
        measurement=found[name],
        evaluations=tuple((one["step"], float(one[name])) for one in events if name in one),
    )


def _against(
    first: Sequence[Trial], trials: Sequence[Trial]
) -> tuple[tuple[float, Interval | None] | None, Comparison | None]:
    """How trials differ from those of the first variant."""
    if trials is first:
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


def _costs(config: ComparisonConfig, paths: Sequence[Path]) -> list[Costs]:
    """Of the trained models in these run directories."""
    if not set(config.columns) & set(OF_LANGUAGE):
        return [Costs() for _ in paths]
    tasks = [load_task(path) for path in paths]
    models: list[LanguageModel] = [task.model for task in tasks]
    written: dict[str, Writing] = {}
    if "writing" in config.columns:
        named = {path.name: model for path, model in zip(paths, models, strict=True)}
        written = writing_speed(named, config.writing)
    return [
        Costs(
            forward_flops(task.model, task.packing.length) if "flops" in config.columns else None,
            memory(task.model) if "memory" in config.columns else None,
            written.get(path.name),
        )
        for path, task in zip(paths, tasks, strict=True)
    ]
