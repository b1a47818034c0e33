"""`peluche data`: list, get, show and measure corpora."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from peluche.cli.tables import print_columns

Names = Annotated[
    list[str],
    typer.Argument(
        help="builtin, a catalogue name, a TSV, JSONL, CoNLL or tree file, or two files"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="print JSON, one object a line")]
Split = Annotated[str | None, typer.Option(help="train, validation or test")]
Languages = Annotated[str | None, typer.Option(help="source and target, such as en-fr")]
Variant = Annotated[str | None, typer.Option(help="of a catalogue entry, such as tok")]
Encoding = Annotated[str | None, typer.Option(help="of the files, such as latin-1")]
Columns = Annotated[str | None, typer.Option(help="of a TSV or JSONL file, such as 0,1 or en,fr")]

data = typer.Typer(
    help="List, get, show and measure corpora.", no_args_is_help=True, rich_markup_mode=None
)


@data.command("list")
def list_(json_: Json = False) -> None:
    """List the corpora that are known by name, and whether they are on this machine."""
    from peluche.data.locate import describe

    rows = describe()
    if json_:
        _print_json(*rows)
        return
    table = [("name", "what", "languages", "examples", "licence", "files here")]
    for row in rows:
        count = f"{sum(row['examples'].values()):,}" if row["examples"] else "any number of"
        here = f"{row['files_here']} of {row['files']}" if row["files"] else "built in"
        languages = " ".join(row["languages"])
        table.append(
            (row["name"], row["what"], languages, f"{count} {row['gives']}", row["licence"], here)
        )
    print_columns(table)


@data.command()
def get(
    name: Annotated[str, typer.Argument(help="of a catalogue entry")],
    to: Annotated[Path | None, typer.Option(help="folder to use instead of the cache")] = None,
    mirror: Annotated[str | None, typer.Option(help="address to download from instead")] = None,
    json_: Json = False,
) -> None:
    """Download a corpus, or check the files of it that are here already."""
    from peluche.data.catalogue import find_entry
    from peluche.data.locate import get_file

    entry = find_entry(name)
    print(f"{entry.title}\n\nlicence: {entry.licence}\n\n{entry.note}\n", file=sys.stderr)
    if all(file.bytes for file in entry.files):
        megabytes = sum(file.bytes or 0 for file in entry.files) / 1e6
        print(f"{len(entry.files)} files, {megabytes:.1f} MB in all\n", file=sys.stderr)
    for file in entry.files:
        result = get_file(name, file, to=to, base_url=mirror)
        check = "SHA-256 is right" if result["sha256"] else "no SHA-256 to check by"
        _print_json(result) if json_ else print(f"{result['path']} ({result['state']}; {check})")
    print(f"\nplease cite:\n{entry.citation}", file=sys.stderr)


@data.command()
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
            _print_json(as_json(example))
        else:
            print(example.where, *shown(example), sep="\n  ")
    if skipped.empty:
        print(skipped, file=sys.stderr)


@data.command()
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
    _print_json(found) if json_ else print_columns(table)


def _print_json(*records: Any) -> None:
    for record in records:
        print(json.dumps(record, ensure_ascii=False))


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.add_typer(data, name="data")
