"""The `peluche` command: one verb a file, each imported by name, heavy imports inside the verbs."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Annotated

import typer

from peluche import __version__
from peluche.errors import ConfigError, DataError, PelucheError

VERBS = [
    "quickstart",
    "train",
    "translate",
    "summarise",
    "complete",
    "chat",
    "perplexity",
    "fill",
    "answer",
    "classify",
    "tag",
    "parse",
    "evaluate",
    "embed",
    "similar",
    "analogy",
    "tokenize",
    "data",
    "score",
    "report",
    "explain",
    "export",
    "models",
    "study",
    "config",
]

app = typer.Typer(
    name="peluche",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _say_version(asked: bool) -> None:
    if asked:
        print(f"peluche {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Transformers and language models, small enough to read, fast enough to use."""


for _verb in VERBS:
    importlib.import_module(f"peluche.cli.{_verb}").register(app)


def main() -> None:
    """Run the command line; turn a `PelucheError` into one clear message and an exit code."""
    rank = os.environ.get("RANK", "0")
    try:
        app()
    except PelucheError as error:
        if os.environ.get("PELUCHE_TRACEBACK"):
            raise
        if rank == "0" or not isinstance(error, ConfigError):  # which all processes meet alike
            print(f"peluche: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except PermissionError as error:
        if os.environ.get("PELUCHE_TRACEBACK"):
            raise
        remedy = "change its permissions, or name another file or folder"
        refused = DataError("permission denied", where=error.filename, remedy=remedy)
        print(f"peluche: {refused}", file=sys.stderr)
        sys.exit(refused.exit_code)
    except BrokenPipeError:
        # The reader of our output (head, less) went away; that is its right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
