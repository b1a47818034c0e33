"""`peluche data show` and `peluche data stats`: look at a corpus, measure it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from peluche.cli.tables import print_columns, print_json

Names = Annotated[
    list[str],
    typer.Argument(
        help="builtin, a catalogue name, a text, TSV, JSONL, CoNLL or tree file, or two files"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="print JSON, one object a line")]
Split = Annotated[str | None, typer.Option(help="train, validation or test")]
Languages = Annotated[str | None, typer.Option(help="source and target, such as en-fr")]
Variant = Annotated[str | None, typer.Option(help="of a catalogue entry, such as tok")]
Encoding = Annotated[str | None, typer.Option(help="of the files, such as latin-1")]
Columns = Annotated[
    str | None,
    typer.Option("--columns", "--column", help="of a TSV or JSONL file, such as 0,1 or en,fr"),
]


def show(
    names: Names,
    count: Annotated[int, typer.Option("--limit", "-n", min=1, help="examples to print")] = 10,
    split: Split = None,
    languages: Languages = None,
    variant: Variant = None,
    encoding: Encoding = None,
    columns: Columns = None,
    json_: Json = False,
) -> None:
    """Print the first examples of a corpus."""
    from peluche.data.corpora import as_json, corpus_from, shown
    from peluche.data.selection import SkipReport

    skipped = SkipReport()
    source = corpus_from(names, split, languages, variant, encoding, columns, limit=count)
    for example in source.read(skipped):
        if json_:
            print_json(as_json(example))
        else:
            print(example.where, *shown(example), sep="\n  ")
    if skipped.empty:
        print(skipped, file=sys.stderr)


def stats(
    names: Names,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="examples to read")
    ] = None,
    split: Split = None,
    languages: Languages = None,
    variant: Variant = None,
    encoding: Encoding = None,
    columns: Columns = None,
    json_: Json = False,
) -> None:
    """Count lines, words, lengths, duplicates, vocabulary, labels and empty lines of a corpus."""
    from peluche.data.corpora import corpus_from, describe_corpus

    options = {"limit": limit, "empty": "keep"}
    source = corpus_from(names, split, languages, variant, encoding, columns, **options)
    found, table = describe_corpus(source.read())
    print_json(found) if json_ else print_columns(table)
