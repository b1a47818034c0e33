"""Corpus scores and sentence scores, for any metrics by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from peluche.errors import ConfigError, DataError
from peluche.metrics.base import Array, Metric, Score
from peluche.metrics.registry import build_metrics
from peluche.metrics.resampling import bootstrap_interval

References = Sequence[Sequence[str]] | Sequence[str]


@dataclass(frozen=True)
class SentenceScores:
    """One metric's scores of N sentences, with the signature that holds for them."""

    metric: str
    scores: list[float]
    signature: str


@dataclass(frozen=True)
class Measurement:
    """One metric of one system on N segments, before any resampling.

    Attributes:
        statistics: (N, K), see `Metric`.
        references: how many there are of each segment, for the signature; None where that makes no
            sense.
    """

    metric: Metric
    statistics: Array
    references: int | None = None

    def score(self, bootstrap: int = 1000, seed: int = 12345) -> Score:
        """The score with its 95 % bootstrap interval; without one if `bootstrap` is 0.

        Raises:
            ConfigError: if `bootstrap` is negative.
        """
        return score_statistics(
            self.metric,
            self.statistics,
            bootstrap=bootstrap,
            seed=seed,
            references=self.references,
        )


def measure(
    names: Sequence[str], hypotheses: Sequence[str], references: References, **options: Any
) -> list[Measurement]:
    """What `score` scores; arguments and errors as there."""
    metrics = build_metrics(names, options)
    streams = reference_lists(hypotheses, references)
    return [
        Measurement(metric, metric.statistics(hypotheses, streams), len(streams))
        for metric in metrics
    ]


def score(
    names: Sequence[str],
    hypotheses: Sequence[str],
    references: References,
    *,
    bootstrap: int = 1000,
    seed: int = 12345,
    **options: Any,
) -> list[Score]:
    """Corpus scores with signatures and 95 % bootstrap intervals.

    Args:
        names: metrics, from `registry.METRICS`.
        hypotheses: N texts.
        references: N texts, or several lists of N texts each.
        bootstrap: number of resamples; 0 for no interval.
        seed: of the resamples.
        options: as in `MetricOptions`.

    Raises:
        ConfigError: for an unknown metric or option, or a negative `bootstrap`.
        DataError: if there are no hypotheses, or not as many references.
    """
    return scores_of(measure(names, hypotheses, references, **options), bootstrap, seed)


def scores_of(
    measured: Sequence[Measurement], bootstrap: int = 1000, seed: int = 12345
) -> list[Score]:
    """The scores of what was measured, with 95 % bootstrap intervals; see `score`.

    Raises:
        ConfigError: if `bootstrap` is negative.
    """
    return [measurement.score(bootstrap, seed) for measurement in measured]


def score_statistics(
    metric: Metric,
    statistics: Array,
    *,
    bootstrap: int = 1000,
    seed: int = 12345,
    references: int | None = None,
) -> Score:
    """The corpus score of per-segment statistics (N, K), e.g. of perplexity.

    Raises:
        ConfigError: if `bootstrap` is negative.
    """
    check_resamples(bootstrap, least=0)
    ci = bootstrap_interval(metric, statistics, bootstrap, seed) if bootstrap else None
    counts = {} if references is None else {"nrefs": references}
    counts |= {"bs": bootstrap, "seed": seed} if bootstrap else {}
    value = float(metric.aggregate(statistics.sum(0)))
    return Score(metric.name, value, metric.signature(counts), ci)


def sentence_scores(
    names: Sequence[str], hypotheses: Sequence[str], references: References, **options: Any
) -> list[SentenceScores]:
    """The scores of each sentence by each metric; arguments and errors as for `score`."""
    metrics = build_metrics(names, options)
    streams = reference_lists(hypotheses, references)
    counts = {"nrefs": len(streams)}
    found = []
    for metric in metrics:
        statistics = metric.statistics(hypotheses, streams)
        by_sentence = metric.for_sentences()
        scores = by_sentence.aggregate(statistics).tolist()
        found.append(SentenceScores(metric.name, scores, by_sentence.signature(counts)))
    return found


def check_resamples(bootstrap: int, least: int) -> None:
    """Raise ConfigError for fewer resamples than make sense."""
    if bootstrap < least:
        raise ConfigError(
            f"cannot draw {bootstrap} resamples",
            remedy=f"give {least} or more (1000 are usual)",
        )


def reference_lists(
    hypotheses: Sequence[str], references: References, system: str | None = None
) -> list[Sequence[str]]:
    """References as lists of N texts each, checked against the hypotheses of a system."""
    if not hypotheses:
        raise DataError(
            "there are no hypotheses to score", where=system, remedy="give at least one"
        )
    one_list = not references or isinstance(references[0], str)
    streams = cast(list[Sequence[str]], [references] if one_list else list(references))
    for number, stream in enumerate(streams, start=1):
        if len(stream) != len(hypotheses):
            place = f"reference list {number} of {len(streams)}"
            raise DataError(
                f"{len(hypotheses)} hypotheses but {len(stream)} references",
                where=place if system is None else f"system {system}, {place}",
                remedy="give one reference per hypothesis, in the same order, in each list",
            )
    return streams
