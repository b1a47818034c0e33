"""`peluche report`: the page about a training run, made from its log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer


def register(app: Typer) -> None:
    app.command("report")(report)


def report(
    run: Annotated[str, Argument(help="A run directory, or the name of one in ./runs.")],
    output: Annotated[
        Path | None, Option("--output", "-o", help="Write this file, not RUN/report/index.html.")
    ] = None,
) -> None:
    """Write a page about a run, finished or not: scores, curves, examples. Prints its path."""
    from peluche.hub.resolve import resolve
    from peluche.reporting.report import write_report

    print(write_report(resolve(run), output=output))
