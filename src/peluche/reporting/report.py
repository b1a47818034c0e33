"""The report of a run: one self-contained page made from its log."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

import peluche
from peluche import files
from peluche.hub.failure import explain_failure
from peluche.hub.run import RunDirectory
from peluche.metrics.registry import METRICS
from peluche.reporting.chart import Chart, Line, line_chart, readable
from peluche.reporting.descriptions import (
    describe_decoding,
    describe_model,
    describe_source,
    describe_tokenizer,
    duration,
)
from peluche.reporting.differences import mark
from peluche.reporting.examples import choose, is_right, load_examples, save_examples
from peluche.reporting.rendering import assets, environment
from peluche.reporting.run_summary import RunSummary, summarise
from peluche.reporting.verdicts import judge
from peluche.text.labels import Labels

__all__ = ["render_report", "save_examples", "write_report"]

WRONG_SHOWN, RIGHT_SHOWN = 8, 6


def write_report(
    run: RunDirectory,
    *,
    examples: Sequence[Mapping[str, str]] = (),
    output: Path | None = None,
) -> Path:
    """Write RUN/report/index.html, or another file, from the run's log; returns its path.

    Args:
        examples: mappings with "source", "reference" and "output"; those that
            `save_examples` kept if not given.

    Raises:
        CheckpointError: when the log cannot be read, or the page cannot be written.
        DataError: when the kept examples cannot be read.
    """
    path = output or run.report_path / "index.html"
    page = render_report(run, examples or load_examples(run), path.with_name("explain.html"))
    with explain_failure("the report", path.parent, len(page), lambda: "the run is untouched"):
        files.write_text(path, page)
    return path


def render_report(run: RunDirectory, examples: Sequence[Mapping[str, str]], explained: Path) -> str:
    """The page as HTML: styles and pictures inside, no script, nothing fetched.

    Args:
        explained: an explanation beside the page, which is linked if it exists.
    """
    templates = environment()
    templates.filters |= {"readable": readable, "duration": duration, "mark": mark}
    templates.filters["readable_size"] = files.readable_size
    config, summary = run.config, summarise(run)
    wrong, right = choose(examples, WRONG_SHOWN, RIGHT_SHOWN)
    return templates.get_template("report.html.j2").render(
        name=config.get("name", run.path.name),
        description=config.get("description", ""),
        about=_about(config),
        summary=summary,
        charts=_charts(summary),
        expectations=_expectations(config, summary),
        test=_test(summary),
        wrong=wrong,
        right=right,
        right_count=sum(map(is_right, examples)),
        example_count=len(examples),
        confusion=_confusion(run, examples),
        config=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
        run=shlex.quote(str(run.path)),
        config_file=shlex.quote(str(run.path / "config.yaml")),
        again=shlex.quote(f"{run.path}-again"),
        explained=explained,
        style=assets("base.css", "report.css"),
        version=peluche.__version__,
    )


def _confusion(run: RunDirectory, examples: Sequence[Mapping[str, str]]) -> str | None:
    """A classifier's table of confusions, as SVG in base64; None for other tasks."""
    if run.config.get("task") != "classification" or not examples:
        return None
    # Drawing takes long to import, and no other report needs it.
    from peluche.reporting.confusion import confusion_svg

    labels = Labels.load(run.part("labels.json"))
    return base64.b64encode(confusion_svg(list(labels), examples)).decode()


def _about(config: Mapping[str, Any]) -> dict[str, str]:
    """What was trained, in words, as far as the config tells."""
    about = {}
    if "model" in config:
        about["model"] = describe_model(config["model"])
    for split, source in config.get("data", {}).items():
        if isinstance(source, Mapping):  # and not a setting of how data are read
            about[f"{split} data"] = describe_source(source)
    if "tokenizer" in config:
        about["tokenizer"] = describe_tokenizer(config["tokenizer"])
    return about


def _expectations(config: Mapping[str, Any], summary: RunSummary) -> Sequence[Any]:
    test = summary.test["scores"] if summary.test else []
    validation = summary.evaluations[-1] if summary.evaluations else {}
    return judge(
        config.get("expected", ()), {row["metric"]: row["score"] for row in test}, validation
    )


def _test(summary: RunSummary) -> dict[str, Any] | None:
    if summary.test is None:
        return None
    decoding = summary.test.get("decoding")
    return {
        **summary.test,
        "data": describe_source(summary.test["data"]),
        "decoding": describe_decoding(decoding) if decoding else None,
    }


def _charts(summary: RunSummary) -> list[Chart]:
    steps, evaluations = summary.steps, summary.evaluations

    def over(events: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
        return [(event["step"], event[name]) for event in events if name in event]

    scores = [name for name in METRICS if any(name in event for event in evaluations)]
    speed = [(event["step"], event["tokens"] / event["seconds"]) for event in steps]
    charts = [
        line_chart(
            "Loss",
            [
                Line("training", over(steps, "loss")),
                Line("validation", over(evaluations, "loss"), dots=True),
            ],
            note="nats per target token, label smoothing included",
        ),
        line_chart(
            "Scores",
            [Line(name.replace("_", " "), over(evaluations, name), dots=True) for name in scores],
            y_range=(0, 100),
            note="validation sentences, greedy search, percent",
        ),
        line_chart(
            "Perplexity",
            [Line("validation", over(evaluations, "perplexity"), dots=True)],
            scale="log",
            note="as unsure as a choice among so many tokens",
        ),
        line_chart(
            "Load of experts",
            [
                Line("busiest", over(steps, "busiest")),
                Line("least busy", over(steps, "idlest")),
                Line("balance term", over(steps, "balance")),
            ],
            y_range=(0, 0),
            note="1 is an even share, and an even balance; means over layers",
        ),
        line_chart(
            "Learning rate",
            [Line("rate", over(steps, "rate"))],
            y_range=(0, 0),
            note="after warm-up and decay",
        ),
        line_chart(
            "Speed",
            [Line("training", speed)],
            y_range=(0, 0),
            note="target tokens a second, evaluations apart",
        ),
        line_chart(
            "Use of the machine",
            [
                Line("MFU", [(event["step"], 100 * event["mfu"]) for event in summary.efficiency]),
            ],
            y_range=(0, 100),
            note="training operations, percent of what large matrix products reach here",
        ),
    ]
    return [chart for chart in charts if chart is not None]
