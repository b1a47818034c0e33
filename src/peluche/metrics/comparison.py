"""Comparisons of systems on the same segments, for any metrics by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from peluche.errors import ConfigError, DataError
from peluche.metrics.base import Array, Metric
from peluche.metrics.registry import build_metrics
from peluche.metrics.resampling import paired_bootstrap, randomization_test
from peluche.metrics.scoring import Measurement, References, check_resamples, reference_lists

Test = Literal["bootstrap", "randomization"]


@dataclass(frozen=True)
class Comparison:
    """One metric of a system against a baseline on the same segments.

    Attributes:
        difference: the system's score minus the baseline's.
        ci: 95 % interval of the difference; None for the randomisation test.
        p_value: two-sided; how often chance alone makes a difference this large.
    """

    metric: str
    baseline: str
    system: str
    baseline_score: float
    score: float
    difference: float
    ci: tuple[float, float] | None
    p_value: float
    signature: str

    def as_json(self) -> dict[str, Any]:
        """The attributes as a dictionary that `json.dumps` takes."""
        return asdict(self)


def compare(
    names: Sequence[str],
    systems: Mapping[str, Sequence[str]],
    references: References,
    *,
    bootstrap: int = 1000,
    seed: int = 12345,
    test: Test = "bootstrap",
    **options: Any,
) -> list[Comparison]:
    """Paired significance of each system's difference from the first one.

    Args:
        systems: names and N hypotheses each, the baseline first.
        bootstrap: number of resamples, or of trials of the randomisation test.
        test: "bootstrap" (Koehn, 2004) or "randomization" (Riezler and Maxwell, 2005).
        names, references, seed, options: as for `score`.

    Raises:
        ConfigError: for an unknown metric or option, `bootstrap` under 1 or fewer than 2 systems.
        DataError: if there are no hypotheses, or not as many references.
    """
    if len(systems) < 2:
        raise ConfigError("there is nothing to compare", remedy="give two systems or more")
    for name, hypotheses in systems.items():
        streams = reference_lists(hypotheses, references, name)
    comparisons = []
    for metric in build_metrics(names, options):
        statistics = {
            name: metric.statistics(hypotheses, streams) for name, hypotheses in systems.items()
        }
        baseline, *others = statistics
        comparisons += [
            compare_statistics(
                metric,
                (baseline, statistics[baseline]),
                (other, statistics[other]),
                bootstrap=bootstrap,
                seed=seed,
                test=test,
                references=len(streams),
            )
            for other in others
        ]
    return comparisons


def compare_statistics(
    metric: Metric,
    baseline: tuple[str, Array],
    system: tuple[str, Array],
    *,
    bootstrap: int = 1000,
    seed: int = 12345,
    test: Test = "bootstrap",
    references: int | None = None,
) -> Comparison:
    """`compare` for two systems' names and per-segment statistics (N, K) of one metric.

    Raises:
        ConfigError: if `bootstrap` is under 1.
    """
    check_resamples(bootstrap, least=1)
    ci: tuple[float, float] | None = None
    if test == "bootstrap":
        p_value, ci = paired_bootstrap(metric, baseline[1], system[1], bootstrap, seed)
    else:
        p_value = randomization_test(metric, baseline[1], system[1], bootstrap, seed)
    scores = [float(metric.aggregate(statistics.sum(0))) for _, statistics in (baseline, system)]
    counts = {} if references is None else {"nrefs": references}
    counts |= {"bs" if test == "bootstrap" else "ar": bootstrap, "seed": seed}
    return Comparison(
        metric=metric.name,
        baseline=baseline[0],
        system=system[0],
        baseline_score=scores[0],
        score=scores[1],
        difference=scores[1] - scores[0],
        ci=ci,
        p_value=p_value,
        signature=metric.signature(counts),
    )


def compare_measurements(
    baseline: tuple[str, Sequence[Measurement]],
    system: tuple[str, Sequence[Measurement]],
    *,
    bootstrap: int = 1000,
    seed: int = 12345,
    test: Test = "bootstrap",
) -> list[Comparison]:
    """`compare` for what was measured of two systems on the same segments, metric by metric.

    A metric that only one of them has (the F1 of a label that the other does not know) is left out.

    Raises:
        ConfigError: if `bootstrap` is under 1.
        DataError: if the two have not as many segments, or no metric in common.
    """
    others = {one.metric.name: one for one in baseline[1]}
    found = []
    for one in system[1]:
        other = others.get(one.metric.name)
        if other is None:
            continue
        if len(one.statistics) != len(other.statistics):
            raise DataError(
                f"{system[0]} was measured on {len(one.statistics)} segments and {baseline[0]} on "
                f"{len(other.statistics)}",
                remedy="measure both on the same data",
            )
        if one.statistics.shape == other.statistics.shape:
            found.append(
                compare_statistics(
                    one.metric,
                    (baseline[0], other.statistics),
                    (system[0], one.statistics),
                    bootstrap=bootstrap,
                    seed=seed,
                    test=test,
                    references=one.references,
                )
            )
    if not found:
        raise DataError(
            f"{system[0]} and {baseline[0]} have no metric in common",
            remedy="compare models of one task, with the same labels",
        )
    return found
