"""`peluche tokenize`: how each kind of tokenizer cuts a text, seen and measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

if TYPE_CHECKING:
    from peluche.text.statistics import TokenizerStatistics
    from peluche.text.tokenizer import Tokenizer

BUILTIN_PAIRS = 2000
Paths = list[Path] | None
Kinds = list[str] | None
Size = Annotated[int | None, typer.Option(min=5, help="to learn [8000; built-in corpus: 1000]")]


def register(app: typer.Typer) -> None:
    app.command("tokenize")(tokenize)


def tokenize(
    text: Annotated[str | None, typer.Argument(help="or the lines of standard input")] = None,
    corpus: Annotated[Paths, typer.Option(help="text to learn from and measure on")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="tokenizer.json or run directory")] = None,
    kind: Annotated[Kinds, typer.Option(help="only this kind of tokenizer")] = None,
    vocab_size: Size = None,
    lowercase: Annotated[bool, typer.Option("--lowercase", help="lower all text")] = False,
    encoding: Annotated[str, typer.Option(help="of corpus and standard input")] = "utf-8",
    json_: Annotated[bool, typer.Option("--json", help="print JSON, one object a line")] = False,
) -> None:
    """Show how each kind of tokenizer cuts a text; with --corpus, learn from it and measure.

    --corpus and --kind may be given several times. A tenth of the corpus is held out to measure on.
    """
    if tokenizer and (kind or vocab_size or lowercase):
        raise typer.BadParameter("--tokenizer is learnt already: no --kind, --vocab-size, …")
    if text is None and not corpus and sys.stdin.isatty():
        raise typer.BadParameter("give a text, pipe one in, or name a --corpus")
    from peluche.data.readers import read_lines
    from peluche.text.statistics import hold_out, measure
    from peluche.text.tokenizer import Tokenizer

    lines = [line for path in corpus or [] for line in read_lines(path, encoding)]
    learn_from, held_out = hold_out(lines) if corpus else (None, [])
    options = {"vocab_size": vocab_size or (8000 if corpus else 1000), "lowercase": lowercase}
    tokenizers = [Tokenizer.load(tokenizer)] if tokenizer else _learn(kind, options, learn_from)
    if corpus:
        _print_table([measure(each, held_out) for each in tokenizers], json_=json_)
    if text is not None or not corpus:
        shown = read_lines("-", encoding) if text is None else [text]
        _print_pieces(tokenizers, shown, json_=json_)


def _learn(
    kinds: Kinds, options: Mapping[str, object], texts: Sequence[str] | None
) -> list[Tokenizer]:
    from rich.console import Console

    from peluche.text.tokenizer import Kind, TokenizerConfig

    if texts is None:
        from peluche.data.builtin import generate

        texts = [side for pair in generate("train", BUILTIN_PAIRS, 0) for side in pair]
    found = []
    with Console(stderr=True).status("learning") as status:
        for kind in kinds or get_args(Kind):
            config = TokenizerConfig.parse({"kind": kind, **options})
            status.update(f"learning {kind} on {len(texts):,} lines")
            found.append(config.build(texts))
    return found


def _print_pieces(tokenizers: Sequence[Tokenizer], texts: Iterable[str], *, json_: bool) -> None:
    from rich.console import Console

    from peluche.text.display import as_json, block

    console = Console(highlight=False, soft_wrap=True)
    for text in texts:
        for tokenizer in tokenizers:
            if json_:
                print(json.dumps(as_json(tokenizer, text), ensure_ascii=False))
            else:
                console.print(block(tokenizer, text, console.width))


def _print_table(rows: Sequence[TokenizerStatistics], *, json_: bool) -> None:
    from peluche.text.display import table

    print("\n".join(json.dumps(row.as_json()) for row in rows) if json_ else table(rows))
