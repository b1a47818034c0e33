"""`peluche data clean`: leave out what a model had better not learn from, and report it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peluche.cli.tables import print_columns, print_json
from peluche.cli.terminal import say

OF_RULES = "gopher, c4: heuristics for English pages of the web"


def clean(
    source: Annotated[
        str, typer.Argument(help="a file, a quoted pattern of files, a folder of code, or hf:NAME")
    ],
    out: Annotated[Path, typer.Argument(help="a .jsonl or .jsonl.gz file to write")],
    near: Annotated[
        float | None, typer.Option(help="similarity from which texts are near duplicates: 0.8")
    ] = None,
    language: Annotated[
        list[str] | None, typer.Option(help="to keep, such as en; may be repeated")
    ] = None,
    rules: Annotated[str, typer.Option(help=OF_RULES)] = "",
    against: Annotated[
        list[str] | None, typer.Option(help="evaluation set to keep out; may be repeated")
    ] = None,
    ngram: Annotated[int, typer.Option(min=1, help="words in a row that give it away")] = 13,
    matches: Annotated[int, typer.Option(min=1, help="so many of them do")] = 1,
    exact: Annotated[bool, typer.Option(help="drop texts that were there before")] = True,
    column: Annotated[str | None, typer.Option(help="of a table: name, or place from 0")] = None,
    against_column: Annotated[str | None, typer.Option(help="of the evaluation sets")] = None,
    kind: Annotated[str | None, typer.Option(help="lines, document, tsv, csv or jsonl")] = None,
    encoding: Annotated[str | None, typer.Option(help="of the files, such as latin-1")] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="texts to read")] = None,
    json_: Annotated[bool, typer.Option("--json", help="print the report as JSON")] = False,
) -> None:
    """Write the texts that are worth learning from, and a report of what was dropped and why."""
    from peluche.data.cleaning.choice import Cleaning
    from peluche.data.cleaning.clean import clean as clean_texts
    from peluche.data.cleaning.clean import report_file
    from peluche.data.text_sources import plain_texts

    values = {
        "exact": exact,
        "languages": language or [],
        "rules": rules.replace(",", " ").split(),
        "against": [plain_texts(name, text=against_column) for name in against or []],
        "ngram": ngram,
        "matches": matches,
        "near": near,
    }
    steps = Cleaning.parse(values, where="the options").steps(say)
    texts = plain_texts(source, text=column, kind=kind, encoding=encoding, limit=limit)
    report = clean_texts(texts, out, steps, say)
    print_json(report.as_json()) if json_ else print_columns(report.table())
    say(f"wrote {out} and {report_file(out)}")
