"""`peluche score`: how good hypotheses are, how sure that is, and whether a system is better."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any

from typer import Argument, Option, Typer

from peluche.errors import ConfigError, DataError

NAMES = "bleu, chrf, chrf++, ter, rouge1, rouge2, rougeL, meteor, wer, exact_match"
DEFAULT = ["bleu", "chrf", "ter"]


def register(app: Typer) -> None:
    app.command("score")(score)


def score(
    hypotheses: Annotated[str, Argument(help="One hypothesis a line; - is standard input.")],
    references: Annotated[list[str], Argument(help="One or more aligned files.")],
    metric: Annotated[list[str], Option(help=f"Repeatable: {NAMES}.")] = DEFAULT,
    tokenize: Annotated[str | None, Option(help="13a, intl, zh, char or none.")] = None,
    lowercase: Annotated[bool, Option("--lowercase", help="Compare in lower case.")] = False,
    force: Annotated[bool, Option("--force", help="Do not warn of tokenised text.")] = False,
    stem: Annotated[str | None, Option(help="meteor: match stems of this language too.")] = None,
    bootstrap: Annotated[int, Option(help="Resamples for intervals; 0 for none.")] = 1000,
    seed: Annotated[int, Option(help="Seed of the resamples.")] = 12345,
    against: Annotated[str | None, Option(help="Hypotheses of another system.")] = None,
    sentences: Annotated[bool, Option("--sentences", help="Score each sentence.")] = False,
    encoding: Annotated[str, Option(help="Encoding of all files.")] = "utf-8",
    as_json: Annotated[bool, Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Score hypotheses against references, with signatures and 95 % intervals."""
    from peluche import metrics

    if sentences and against:
        raise ConfigError("--sentences and --against exclude each other", remedy="drop one of them")
    system, *others = _read_aligned([hypotheses, *references, *filter(None, [against])], encoding)
    texts = system, others[: len(references)]
    options: Any = {"tokenize": tokenize, "lowercase": lowercase, "force": force, "stem": stem}
    if sentences:
        _print_sentences(metrics.sentence_scores(metric, *texts, **options), as_json)
        return
    options |= {"bootstrap": bootstrap, "seed": seed}
    rows = [result.as_json() for result in metrics.score(metric, *texts, **options)]
    if against:
        systems = {against: others[-1], hypotheses: system}
        tests = metrics.compare(metric, systems, texts[1], **options)
        for row, test in zip(rows, tests, strict=True):
            row["against"] = test.as_json()
    if as_json:
        print(*map(json.dumps, rows), sep="\n")
    else:
        from peluche.cli.tables import print_table

        print_table(rows, against)


def _read_aligned(paths: Sequence[str], encoding: str) -> list[list[str]]:
    """The lines of each file; all must have as many as the first."""
    from peluche.data.readers import read_lines

    texts = [list(read_lines(path, encoding)) for path in paths]
    names = ["standard input" if path == "-" else path for path in paths]
    for name, lines in zip(names, texts, strict=True):
        if not lines:
            raise DataError(f"{name} is empty", remedy="give at least one line")
        if len(lines) != len(texts[0]):
            what = f"{names[0]} has {len(texts[0])} lines but {name} has {len(lines)}"
            raise DataError(what, remedy="give files aligned line by line")
    return texts


def _print_sentences(found: Sequence[Any], as_json: bool) -> None:
    names = [result.metric for result in found]
    for result in found:
        print(f"{result.metric}: {result.signature}", file=sys.stderr)
    if not as_json:
        print("line", *names, sep="\t")
    for line, row in enumerate(zip(*(result.scores for result in found), strict=True), start=1):
        if as_json:
            print(json.dumps({"line": line, **dict(zip(names, row, strict=True))}))
        else:
            print(line, *(f"{value:.2f}" for value in row), sep="\t")
