"""The page of the history study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from peluche.hub.run import RunDirectory
from peluche.metrics import Score
from peluche.recipes.base import Say, silent
from peluche.recipes.recipe import load_recipe
from peluche.reporting.article import Picture, Section, Table, write_article
from peluche.reporting.descriptions import describe_source, duration
from peluche.reporting.examples import load_examples
from peluche.reporting.explain import explain
from peluche.reporting.explanation import Matrix
from peluche.reporting.figures import WEIGHTS
from peluche.reporting.words import MAX_TOKENS
from peluche.studies.drawing import COLOURS, draw_line, tidy
from peluche.studies.history import BASE, RungResult, bucket_names
from peluche.tasks.load import load_translator

WORDS = (9, 13)


def write_history(folder: Path, results: Sequence[RungResult], say: Say = silent) -> Path:
    """Write the page, the pictures and the numbers of finished rungs; returns the page."""
    run = RunDirectory.open(results[0].trials[0].path)
    as_published = _same_task(run.config)
    examples = [load_examples(RunDirectory.open(result.trials[0].path)) for result in results]
    sections = [
        Section(
            "The ladder",
            [
                *(f"{result.rung.title}. {result.rung.about}" for result in results),
                "BLEU is of the translations of all seeds together; its 95 % interval is over test "
                "sentences. Perplexity is per token of the validation set.",
            ],
            _summary(results, as_published),
            [Picture("bleu", "BLEU with its 95 % interval.", _draw_bleu(results, as_published))],
        ),
        Section(
            "Where seq2seq forgets",
            [
                "BLEU by the length of the source sentence. Without attention all of a sentence "
                "has to fit into one vector, however long it is."
            ],
            _lengths(results),
            [Picture("bleu-by-length", "BLEU by words in the source.", _draw_lengths(results))],
        ),
        Section(
            "How they learnt",
            [],
            None,
            [Picture("perplexity", "Validation perplexity, first seed.", _draw_learning(results))],
        ),
        *_attention(results, examples[0]),
        Section("One long sentence", [], _longest(results, examples)),
        Section(
            "What it costs",
            [
                "Peak memory is that of the whole training process. Translation speed is that of "
                "the test set, as the recipe decodes it. "
                + "; ".join(dict.fromkeys(t.machine for r in results for t in r.trials)),
            ],
            _costs(results),
        ),
        Section("Every run", [], _runs(results)),
    ]
    data = run.config["data"]
    lead = (
        f"Trained on {describe_source(data['train'])}; scored on "
        f"{describe_source(data['test'] or data['validation'])}."
    )
    say("drawing")
    title = "From seq2seq to the Transformer"
    return write_article(folder, title, lead, sections, _numbers(results))


def _same_task(config: dict[str, Any]) -> bool:
    """Whether corpus and epochs are those that the published figures hold for."""
    base = load_recipe(str(BASE)).model_dump(mode="json")
    return bool(
        config["data"] == base["data"]
        and config["training"]["epochs"] == base["training"]["epochs"]
    )


def _summary(results: Sequence[RungResult], as_published: bool) -> Table:
    head = ["", "BLEU", "95 %", "over the rung below", "perplexity", "parameters"]
    if as_published:
        head[1:1] = ["published"]
    rows = []
    for result in results:
        trials, against = result.trials, result.against
        low, high = result.bleu.ci or (result.bleu.score, result.bleu.score)
        row = [
            result.rung.title,
            f"{result.bleu.score:.2f}",
            f"{low:.1f}–{high:.1f}",
            f"{against.difference:+.2f} (p {against.p_value:.3f})" if against else "",
            f"{fmean(trial.perplexity for trial in trials):.2f}",
            f"{trials[0].parameters / 1e6:.2f} M",
        ]
        if as_published:
            there = result.rung.published
            row[1:1] = [f"{there.bleu:.2f} ({there.parameters / 1e6:.1f} M)" if there else ""]
        rows.append(row)
    return Table(head, rows)


def _costs(results: Sequence[RungResult]) -> Table:
    rows = [
        [
            result.rung.title,
            duration(fmean(trial.train_seconds for trial in result.trials)),
            f"{fmean(trial.tokens_per_second for trial in result.trials):,.0f}",
            f"{fmean(trial.sentences_per_second for trial in result.trials):,.0f}",
            f"{fmean(trial.peak_bytes for trial in result.trials) / 2**20:,.0f} MiB",
        ]
        for result in results
    ]
    return Table(["", "training", "tokens/s", "translated sentences/s", "peak memory"], rows)


def _lengths(results: Sequence[RungResult]) -> Table:
    def cell(result: RungResult, number: int) -> str:
        found = result.by_length[number]
        return "–" if found is None else f"{found.score:.1f}"

    names = bucket_names()
    rows = [
        [result.rung.title, *(cell(result, number) for number in range(len(names)))]
        for result in results
    ]
    return Table(["words", *names], rows)


def _runs(results: Sequence[RungResult]) -> Table:
    rows = [
        [
            trial.path.name,
            f"{trial.bleu:.2f}",
            f"{trial.interval[0]:.1f}–{trial.interval[1]:.1f}",
            f"{trial.perplexity:.2f}",
            duration(trial.train_seconds),
            f"{trial.peak_bytes / 2**20:,.0f} MiB",
        ]
        for result in results
        for trial in result.trials
    ]
    return Table(["run", "BLEU", "95 %", "perplexity", "training", "peak memory"], rows)


def _longest(results: Sequence[RungResult], examples: Sequence[list[dict[str, str]]]) -> Table:
    number = max(
        range(len(examples[0])), key=lambda index: len(examples[0][index]["source"].split())
    )
    first = examples[0][number]
    rows = [["source", first["source"]], ["reference", first["reference"]]]
    rows += [
        [result.rung.title, some[number]["output"]]
        for result, some in zip(results, examples, strict=True)
    ]
    return Table(["", "the longest sentence of the test set"], rows, numbers=False)


def _attention(results: Sequence[RungResult], examples: Sequence[dict[str, str]]) -> list[Section]:
    """Alignments of the first sentence of middling length, by every rung that has attention."""
    sentence = next(
        (
            one["source"]
            for one in examples
            if WORDS[0] <= len(one["source"].split()) <= WORDS[1]
            and len(one["source"]) < MAX_TOKENS
        ),
        examples[0]["source"],
    )
    pictures = []
    for result in results:
        translator = load_translator(result.trials[0].path)
        found = explain(
            translator.model, translator.tokenizer, sentence, decoding=translator.decoding
        )
        if not found.alignment:
            continue
        layer = max(0, len(found.alignment) - 2)
        pictures.append(
            Picture(
                f"attention-{result.rung.name}",
                f"{result.rung.title}: rows were written looking at columns.",
                _draw_alignment(found.alignment[layer], found.target.words, found.source.words),
            )
        )
    text = ["Which source word was looked at for which word of the translation; nobody told it."]
    return [Section("Looking back", text, None, pictures)] if pictures else []


def _draw_alignment(weights: Matrix, rows: Sequence[str], columns: Sequence[str]) -> Figure:
    # The axes fill the figure, and what is saved grows by the names around them.
    figure = Figure((0.33 * len(columns), 0.3 * len(rows)))
    axes: Axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(weights, cmap=WEIGHTS, vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks(range(len(columns)), columns, rotation="vertical", parse_math=False)
    axes.set_yticks(range(len(rows)), rows, parse_math=False)
    axes.tick_params(length=0)
    return figure


def _draw_bleu(results: Sequence[RungResult], as_published: bool) -> Figure:
    figure = Figure((7, 3.4), layout="constrained")
    axes: Axes = figure.subplots()
    places = range(len(results))
    heights = [result.bleu.score for result in results]
    bounds = [result.bleu.ci or (result.bleu.score,) * 2 for result in results]
    below = [height - low for height, (low, _) in zip(heights, bounds, strict=True)]
    above = [high - height for height, (_, high) in zip(heights, bounds, strict=True)]
    axes.bar(places, heights, color=COLOURS[2], width=0.55, label="peluche")
    axes.errorbar(places, heights, yerr=[below, above], fmt="none", ecolor="#23262c", capsize=4)
    if as_published:
        published = [
            (place, result.rung.published.bleu)
            for place, result in zip(places, results, strict=True)
            if result.rung.published
        ]
        for place, bleu in published:
            label = "published, 10 epochs" if place == published[0][0] else ""
            ends = (place - 0.36, place + 0.36)
            axes.hlines(bleu, *ends, color="#7c3406", linewidth=2.5, label=label, zorder=3)
        axes.legend(frameon=False)
    axes.set_xticks(places, [result.rung.title for result in results])
    axes.set_ylabel("BLEU")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_lengths(results: Sequence[RungResult]) -> Figure:
    figure = Figure((7, 3.6), layout="constrained")
    axes: Axes = figure.subplots()
    for number, result in enumerate(results):
        found = [(place, one) for place, one in enumerate(result.by_length) if one is not None]
        points = [(place, one.score) for place, one in found]
        bounds = [one.ci or (one.score, one.score) for _, one in found]
        draw_line(axes, number, result.rung.title, points, bounds)
    axes.set_xticks(range(len(bucket_names())), bucket_names())
    axes.set_xlabel("words in the source sentence")
    axes.set_ylabel("BLEU")
    tidy(axes)
    figure.legend(loc="outside upper center", ncols=len(results), frameon=False)
    return figure


def _draw_learning(results: Sequence[RungResult]) -> Figure:
    figure = Figure((7, 3.4), layout="constrained")
    axes: Axes = figure.subplots()
    for number, result in enumerate(results):
        draw_line(axes, number, result.rung.title, result.trials[0].perplexities)
    axes.set_yscale("log")
    axes.set_xlabel("optimizer steps")
    axes.set_ylabel("validation perplexity")
    tidy(axes)
    axes.legend(frameon=False)
    return figure


def _numbers(results: Sequence[RungResult]) -> dict[str, Any]:
    def score(found: Score | None) -> dict[str, Any] | None:
        return None if found is None else found.as_json()

    return {
        "study": "history",
        "rungs": [
            {
                "rung": result.rung.model_dump(mode="json"),
                "bleu": score(result.bleu),
                "against": result.against and result.against.as_json(),
                "by_length": dict(zip(bucket_names(), map(score, result.by_length), strict=True)),
                "trials": [asdict(trial) | {"path": str(trial.path)} for trial in result.trials],
            }
            for result in results
        ],
    }
