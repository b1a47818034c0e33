"""`peluche data`: list and get corpora; see also `data_show` and `data_clean`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from peluche.cli import data_clean, data_show
from peluche.cli.tables import print_columns, print_json
from peluche.cli.terminal import counted

Json = Annotated[bool, typer.Option("--json", help="print JSON, one object a line")]

data = typer.Typer(
    help="List, get, show, measure and clean corpora.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@data.command("list")
def list_(json_: Json = False) -> None:
    """List the corpora that are known by name, and whether they are on this machine."""
    from peluche.data.locate import describe

    rows = describe()
    if json_:
        print_json(*rows)
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
        print(f"{counted(len(entry.files), 'file')}, {megabytes:.1f} MB in all\n", file=sys.stderr)
    for file in entry.files:
        result = get_file(name, file, to=to, base_url=mirror)
        check = "SHA-256 is right" if result["sha256"] else "no SHA-256 to check by"
        print_json(result) if json_ else print(f"{result['path']} ({result['state']}; {check})")
    print(f"\nplease cite:\n{entry.citation}", file=sys.stderr)


for _verb in (data_show.show, data_show.stats, data_clean.clean):
    data.command()(_verb)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.add_typer(data, name="data")
