"""The page of a comparison, and its table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from peluche.hub.run import RunDirectory
from peluche.recipes.recipe import parse_recipe
from peluche.reporting.article import Picture, Section, Table, write_article
from peluche.reporting.descriptions import describe_source, duration
from peluche.studies.compare import Diverged, Interval, Trial, VariantResult
from peluche.studies.comparison import ComparisonConfig
from peluche.studies.costs import Memory, Writing
from peluche.studies.drawing import colour, draw_line, tidy

HEADS = {
    "parameters": "parameters",
    "flops": "FLOP per token",
    "memory": "bytes per token",
    "writing": "tokens/s written",
    "reading": "tokens/s trained",
}


def write_comparison(
    folder: Path, config: ComparisonConfig, results: Sequence[VariantResult]
) -> Path:
    """Write the page, the pictures and the numbers of a finished comparison; returns the page."""
    sections = [
        Section(
            "Side by side",
            [
                *(f"{one.variant.title}. {one.variant.about}" for one in results),
                *_explained(config, results),
            ],
            comparison_table(config, results),
            [
                Picture(
                    "scores",
                    f"{config.metric} of each seed; bars are 95 % intervals of means.",
                    _draw_scores(config.metric, results),
                )
            ],
        ),
    ]
    learnt = [trial.evaluations for result in results for trial in result.scored]
    if learnt and all(learnt):
        caption = f"Validation {config.metric}, mean of seeds; the shade spans them."
        picture = Picture("learning", caption, _draw_learning(config.metric, results))
        sections.append(Section("How they learnt", pictures=[picture]))
    swept = [result for result in results if len(result.sweep) > 1]
    if swept:
        sections.append(
            Section(
                "Learning rates",
                [
                    "Tried with the first seed. The best is kept, and its run is one of those "
                    "above.",
                    *(
                        f"The best of {one.variant.title} is at the edge of what was tried."
                        for one in swept
                        if one.at_the_edge
                    ),
                ],
                _rates(swept),
                [Picture("rates", f"{config.metric} by rate.", _draw_rates(config.metric, swept))]
                if any(result.trials for result in swept)
                else [],
            )
        )
    sections.append(Section("Every run", [], _runs(config.metric, results)))
    values = RunDirectory.open(results[0].sweep[0].path).config
    tested = parse_recipe(values).tested()
    assert tested is not None, "comparisons are of scores"
    lead = (
        f"{config.about} Trained on {describe_source(values['data']['train'])}; scored on "
        f"{describe_source(tested.model_dump(mode='json'))}."
    ).strip()
    return write_article(folder, config.title, lead, sections, _numbers(config, results))


def comparison_table(config: ComparisonConfig, results: Sequence[VariantResult]) -> Table:
    """A row for each variant: the metric, its difference from the first, and what it costs."""
    head = ["", config.metric, "95 %", "difference", "95 % over seeds", "95 % over text"]
    head += [HEADS[column] for column in config.columns]
    rows = []
    for result in results:
        difference, over_seeds = result.over_seeds or (None, None)
        over_text = result.over_text.ci if result.over_text else None
        row = [
            result.variant.title,
            _score(result.score),
            _interval(result.interval),
            "" if difference is None else f"{difference:+.4f}",
            _interval(over_seeds, "+"),
            _interval(over_text, "+"),
        ]
        rows.append([*row, *(_cell(column, result) for column in config.columns)])
    return Table(head, rows)


def markdown(table: Table) -> str:
    """A table as Markdown."""
    ruler = ["---"] * len(table.head)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (table.head, ruler, *table.rows))


def _explained(config: ComparisonConfig, results: Sequence[VariantResult]) -> list[str]:
    text = [
        f"The mean {config.metric} of {config.seeds} seeds, with Student's 95 % interval. "
        f"Differences are from {results[0].variant.title}: over seeds, pairs of equal seeds are "
        "drawn from all that there could be; over text, what is scored is drawn again and the "
        "models stay."
    ]
    if "flops" in config.columns:
        text.append(
            "FLOP per token are those of matrix products in reading a row; of experts those count "
            "that are used."
        )
    if "writing" in config.columns:
        test = config.writing
        text.append(
            f"Writing: {test.rows} texts at a time, {test.tokens} tokens after {test.context}, "
            f"every model in turn, the median of {test.rounds} rounds; the ratio is the median of "
            "each round's."
        )
    return text


def _score(score: float | None) -> str:
    return "diverged" if score is None else f"{score:.4f}"


def _cell(column: str, result: VariantResult) -> str:
    if not result.scored:
        return ""
    costs = result.costs
    if column == "flops":
        return "" if costs.flops is None else f"{costs.flops:,.0f}"
    if column == "memory" and costs.memory is not None:
        per_token, fixed = costs.memory
        return f"{per_token:,}" + (f" + {fixed:,} once" if fixed else "")
    if column == "writing" and costs.writing is not None:
        return f"{costs.writing.tokens_per_second:,.0f} ({costs.writing.ratio:.2f}×)"
    if column == "reading":
        return f"{median(one.tokens_per_second for one in result.scored):,.0f}"
    return f"{result.scored[0].parameters:,}"


def _interval(bounds: Interval | None, sign: str = "") -> str:
    return "" if bounds is None else f"{bounds[0]:{sign}.4f} to {bounds[1]:{sign}.4f}"


def _rates(results: Sequence[VariantResult]) -> Table:
    tried = sorted({trial.rate for result in results for trial in result.sweep})
    rows = []
    for result in results:
        scores = {trial.rate: _score(trial.score) for trial in result.sweep}
        rows.append([result.variant.title, *(scores.get(rate, "") for rate in tried)])
    return Table(["rate", *(f"{rate:g}" for rate in tried)], rows)


def _runs(metric: str, results: Sequence[VariantResult]) -> Table:
    rows = [
        [trial.path.name, _score(trial.score), *_measured(trial)]
        for result in results
        for trial in result.runs
    ]
    head = ["run", metric, "training", HEADS["reading"], "peak memory", "machine"]
    return Table(head, rows)


def _measured(trial: Trial | Diverged) -> list[str]:
    if isinstance(trial, Diverged):
        return ["", "", "", ""]
    return [
        duration(trial.train_seconds),
        f"{trial.tokens_per_second:,.0f}",
        f"{trial.peak_bytes / 2**20:,.0f} MiB",
        trial.machine,
    ]


def _draw_scores(metric: str, results: Sequence[VariantResult]) -> Figure:
    figure = Figure((7, 0.6 + 0.55 * len(results)), layout="constrained")
    axes: Axes = figure.subplots()
    for place, result in enumerate(results):
        if result.score is None:
            continue
        scores = [trial.score for trial in result.scored]
        low, high = result.interval or (result.score, result.score)
        axes.plot([low, high], [place, place], color=colour(place), linewidth=2)
        axes.plot(scores, [place] * len(scores), "o", color=colour(place), alpha=0.6)
        axes.plot([result.score], [place], "|", color="#23262c", markersize=14)
    axes.set_yticks(range(len(results)), [result.variant.title for result in results])
    axes.set_ylim(len(results) - 0.5, -0.5)
    axes.set_xlabel(metric)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e2ded5")
    return figure


def _draw_learning(metric: str, results: Sequence[VariantResult]) -> Figure:
    figure = Figure((7, 3.6), layout="constrained")
    axes: Axes = figure.subplots()
    for number, result in enumerate(results):
        if not result.scored:
            continue
        # A seed may have been stopped before the others.
        columns = list(zip(*(trial.evaluations for trial in result.scored), strict=False))
        points = [(seeds[0][0], fmean(score for _, score in seeds)) for seeds in columns]
        bounds = [(min(s for _, s in seeds), max(s for _, s in seeds)) for seeds in columns]
        draw_line(axes, number, result.variant.title, points, bounds)
    axes.set_xlabel("optimizer steps")
    axes.set_ylabel(f"validation {metric}")
    tidy(axes)
    axes.legend(frameon=False)
    return figure


def _draw_rates(metric: str, results: Sequence[VariantResult]) -> Figure:
    figure = Figure((7, 3.6), layout="constrained")
    axes: Axes = figure.subplots()
    for number, result in enumerate(results):
        points = sorted((one.rate, one.score) for one in result.sweep if isinstance(one, Trial))
        if points:
            draw_line(axes, number, result.variant.title, points)
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel(metric)
    tidy(axes)
    axes.legend(frameon=False)
    return figure


def _numbers(config: ComparisonConfig, results: Sequence[VariantResult]) -> dict[str, Any]:
    def trial(one: Trial | Diverged) -> dict[str, Any]:
        values = {name: value for name, value in vars(one).items() if name != "measurement"}
        return values | {"path": str(one.path), "score": one.score}

    return {
        "study": config.model_dump(mode="json"),
        "variants": [
            {
                "variant": result.variant.name,
                "score": result.score,
                "interval": result.interval,
                "over_seeds": result.over_seeds,
                "over_text": result.over_text and result.over_text.as_json(),
                "costs": {
                    name: value._asdict() if isinstance(value, Memory | Writing) else value
                    for name, value in vars(result.costs).items()
                },
                "sweep": [trial(one) for one in result.sweep],
                "trials": [trial(one) for one in result.trials],
            }
            for result in results
        ],
    }
