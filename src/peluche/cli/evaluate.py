"""`peluche evaluate`: how good a trained model is on any data, and how sure that is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option, Typer

from peluche.errors import ConfigError

if TYPE_CHECKING:
    from peluche.tasks.evaluation import Evaluation


def register(app: Typer) -> None:
    app.command("evaluate")(evaluate)


def evaluate(
    run: Annotated[str, Argument(help="A run directory, or the name of one in ./runs.")],
    data: Annotated[
        list[str] | None,
        Argument(help="A catalogue name, or files; the run's own test data if not given."),
    ] = None,
    split: Annotated[str | None, Option(help="train, validation or test.")] = None,
    variant: Annotated[str | None, Option(help="Of a catalogue entry, such as tok.")] = None,
    languages: Annotated[str | None, Option(help="Of pairs, such as en-fr.")] = None,
    columns: Annotated[
        str | None,
        Option(
            "--columns",
            "--column",
            help="Of a table: TEXT,LABEL, TEXT,TEXT,LABEL or SOURCE,TARGET.",
        ),
    ] = None,
    encoding: Annotated[str | None, Option(help="Of the files, such as latin-1.")] = None,
    limit: Annotated[int | None, Option("--limit", "-n", min=1, help="Examples to read.")] = None,
    against: Annotated[str | None, Option(help="Another run, tested on the same data.")] = None,
    baselines: Annotated[
        bool,
        Option(
            "--baselines",
            help="Classifiers: simple models trained on the run's data. Summarisers: first words.",
        ),
    ] = False,
    picture: Annotated[
        Path | None, Option(help="Classifiers: draw what is taken for what, as .png or .svg.")
    ] = None,
    weights: Annotated[str, Option(help="Which weights of the run: best, averaged, …")] = "model",
    bootstrap: Annotated[int, Option(min=0, help="Resamples for intervals; 0 for none.")] = 1000,
    seed: Annotated[int, Option(help="Seed of the resamples.")] = 12345,
    as_json: Annotated[bool, Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Measure a model on data whose answers are known: every metric with a 95 % interval.

    With --against and --baselines, whether it is better, by paired bootstrap on the same examples.
    """
    from peluche.cli.tables import print_table, print_tests
    from peluche.cli.terminal import counted, say
    from peluche.nn.machine import tune_allocator
    from peluche.tasks.evaluation import read_examples
    from peluche.tasks.load import load_task

    if (against or baselines) and not bootstrap:
        raise ConfigError("a comparison needs resamples", remedy="leave --bootstrap 0 out")
    if picture is not None:
        from peluche.reporting.figures import check_format

        check_format(picture)
    tune_allocator()
    task = load_task(run, weights=weights)
    options = {"split": split, "variant": variant, "languages": languages, "columns": columns}
    given = {key: value for key, value in options.items() if value is not None}
    examples = read_examples(task.source(data or [], encoding=encoding, limit=limit, **given), say)
    rival = load_task(against) if against else None
    _check(task, rival, examples, baselines, picture is not None)
    found = task.measure(examples)
    say(f"{counted(len(examples), 'example')} in {found.seconds:.1f} s")
    others: dict[str, Evaluation] = {}
    if baselines:
        from peluche.evaluation.baselines import evaluate_baselines
        from peluche.evaluation.lead import evaluate_lead
        from peluche.tasks.summarise import Summariser

        evaluator = evaluate_lead if isinstance(task, Summariser) else evaluate_baselines
        others = evaluator(task, examples, say)
    if against and rival is not None:
        others[against] = rival.measure(examples)
    if picture is not None:
        from peluche.reporting.confusion import write_confusion

        say(str(write_confusion(found, picture)))
    scores = [score.as_json() for score in found.scores(bootstrap, seed)]
    tests = [
        test.as_json()
        for name, other in others.items()
        for test in found.against(other, (run, name), bootstrap, seed)
    ]
    if as_json:
        print(*map(json.dumps, scores + tests), sep="\n")
        return
    print_table(scores)
    if tests:
        print()
        print_tests(tests, run)


def _check(task: Any, rival: Any, examples: Sequence[Any], baselines: bool, picture: bool) -> None:
    """Refuse what cannot be done before any of it is."""
    from peluche.tasks.classify import TextClassifier
    from peluche.tasks.summarise import Summariser

    task.check(examples)
    if rival is not None:
        task.check_against(rival, examples)
    if baselines and not isinstance(task, TextClassifier | Summariser):
        raise ConfigError(
            "there are baselines for classifiers and summarisers alone",
            remedy="leave --baselines out",
        )
    if picture and not isinstance(task, TextClassifier):
        raise ConfigError("a table of confusions is for classifiers", remedy="leave --picture out")
