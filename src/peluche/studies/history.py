"""The ladder from seq2seq to the Transformer: one corpus, one budget, measured rung by rung."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from peluche.config import Config, parse_as, parse_yaml
from peluche.errors import ConfigError, did_you_mean
from peluche.hub.run import RunDirectory
from peluche.metrics.base import Array, Score, TextMetric
from peluche.metrics.comparison import Comparison, compare_statistics
from peluche.metrics.registry import build_metrics
from peluche.metrics.scoring import score_statistics
from peluche.recipes.base import Recipe, Say, silent
from peluche.recipes.recipe import load_recipe
from peluche.reporting.examples import load_examples
from peluche.studies.runs import Finished, read_finished, run_all, with_own
from peluche.studies.trial import Runner, one_by_one

HERE = Path(__file__).parent
BASE, LADDER = HERE / "history.yaml", HERE / "ladder.yaml"
# Words of the source sentence: a bucket begins after each.
EDGES = (8, 11, 14, 18)


class Published(Config):
    """What others report for the same data and epochs."""

    bleu: float
    parameters: float


class Rung(Config):
    """One model of the ladder.

    `changes` are made to the recipe that all rungs share; `published` holds on the study's own
    corpus and budget only.
    """

    name: str
    title: str
    about: str
    changes: tuple[str, ...]
    published: Published | None = None


@dataclass(frozen=True, kw_only=True)
class Trial(Finished):
    """One seed of one rung, as logged in its run directory."""

    rung: str
    seed: int
    bleu: float
    interval: tuple[float, float]
    perplexity: float
    perplexities: tuple[tuple[int, float], ...]
    sentences_per_second: float


@dataclass(frozen=True)
class RungResult:
    """All seeds of one rung.

    Attributes:
        bleu: of all seeds' translations together; the interval is over test sentences.
        by_length: BLEU of the sentences of each bucket; None where it is empty.
        against: the difference from the rung below, paired over sentences; None for the first.
    """

    rung: Rung
    trials: tuple[Trial, ...]
    bleu: Score
    by_length: tuple[Score | None, ...]
    against: Comparison | None


def ladder(path: Path = LADDER) -> list[Rung]:
    """The rungs, lowest first.

    Raises:
        ConfigError: the file does not describe any.
    """
    found: list[Rung] = parse_as(
        list[Rung], parse_yaml(path.read_text(encoding="utf-8")), where=str(path)
    )
    return found


def chosen(names: Sequence[str] | None) -> list[Rung]:
    """The rungs of these names, lowest first; all of them if no names are given.

    Raises:
        ConfigError: there is no such rung.
    """
    rungs = {rung.name: rung for rung in ladder()}
    for name in names or ():
        if name not in rungs:
            raise ConfigError(f"no rung is called '{name}'", remedy=did_you_mean(name, rungs))
    return [rung for rung in rungs.values() if names is None or rung.name in names]


def recipe_of(rung: Rung, changes: Sequence[str], seed: int) -> Recipe:
    """The recipe of one trial.

    Raises:
        ConfigError: the changes do not fit the rung's model, or are of what the study itself sets.
    """
    own = {"training.seed": seed, "name": f"{rung.name}-seed{seed}"}
    return load_recipe(str(BASE), with_own([*rung.changes, *changes], own))


def run_history(
    folder: Path,
    rungs: Sequence[Rung],
    changes: Sequence[str] = (),
    seeds: int = 3,
    say: Say = silent,
    run: Runner = one_by_one,
) -> list[RungResult]:
    """Run what is not finished yet, seed by seed; then measure all.

    Args:
        folder: gets a run directory per trial.
        changes: `key=value`, made to the recipes of all rungs.
        run: runs trials, one after another or spread over machines (`peluche.studies.spread`).

    Raises:
        ConfigError: the folder holds a study with other settings, or its runs have no BLEU.
        Stopped, CheckpointError: see `one_by_one`.
        NumericsError: a trial diverged; all others have been run.
    """
    trials = [(rung, seed) for seed in range(seeds) for rung in rungs]
    recipes = [recipe_of(rung, changes, seed) for rung, seed in trials]
    if any("bleu" not in recipe.scored() for recipe in recipes):
        raise ConfigError(
            "the runs of this study have no BLEU", remedy="leave bleu among evaluation.metrics"
        )
    run_all(folder, recipes, say, run)
    return measure(folder, rungs, seeds)


def measure(folder: Path, rungs: Sequence[Rung], seeds: int) -> list[RungResult]:
    """Read finished trials.

    Raises:
        ConfigError: a trial is not finished.
        NumericsError: a trial diverged.
    """
    found: list[RungResult] = []
    below: tuple[str, Array] | None = None
    for rung in rungs:
        trials = [_trial(folder / "runs" / f"{rung.name}-seed{n}", rung, n) for n in range(seeds)]
        examples = [load_examples(RunDirectory.open(trial.path)) for trial in trials]
        metric = _bleu(trials[0].path)
        references = [example["reference"] for example in examples[0]]
        # A sentence's statistics are the sum over seeds: resampling draws sentences, not seeds.
        statistics = np.sum(
            [metric.statistics([one["output"] for one in some], [references]) for some in examples],
            axis=0,
        )
        buckets = bucket([one["source"] for one in examples[0]])
        against = None
        if below is not None:
            against = compare_statistics(metric, below, (rung.name, statistics), references=1)
        below = (rung.name, statistics)
        by_length = tuple(
            score_statistics(metric, statistics[buckets == number], references=1)
            if (buckets == number).any()
            else None
            for number in range(len(EDGES) + 1)
        )
        bleu = score_statistics(metric, statistics, references=1)
        found.append(RungResult(rung, tuple(trials), bleu, by_length, against))
    return found


def bucket(sources: Sequence[str]) -> np.ndarray:
    """The bucket of each sentence by its number of words: 0 to EDGES[0] words are in bucket 0."""
    return np.searchsorted(EDGES, [len(source.split()) for source in sources])


def bucket_names() -> list[str]:
    """What buckets are called: 1–8, 9–11, …, 19+."""
    starts = [1, *(edge + 1 for edge in EDGES)]
    return [*(f"{a}–{b}" for a, b in zip(starts, EDGES, strict=False)), f"{starts[-1]}+"]


def _bleu(path: Path) -> TextMetric:
    options = RunDirectory.open(path).config["evaluation"]
    [metric] = build_metrics(["bleu"], {"tokenize": options["tokenize"], "force": True})
    return metric


def _trial(path: Path, rung: Rung, seed: int) -> Trial:
    finished, summary = read_finished(path)
    test = summary.test or {}
    scores = {item["metric"]: item for item in test["scores"]}
    perplexities = tuple(
        (event["step"], float(event["perplexity"])) for event in summary.evaluations
    )
    return Trial(
        **vars(finished),
        rung=rung.name,
        seed=seed,
        bleu=scores["bleu"]["score"],
        interval=tuple(scores["bleu"]["ci"]),
        perplexity=perplexities[-1][1],
        perplexities=perplexities,
        sentences_per_second=test["examples"] / test["seconds"],
    )
