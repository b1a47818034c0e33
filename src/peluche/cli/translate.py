"""`peluche translate`: sentences in, translations out, one a line."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from peluche.cli import drawing
from peluche.errors import ConfigError

if TYPE_CHECKING:
    from peluche.tasks.translate import Translation

QUIET_SECONDS = 2.0


def register(app: typer.Typer) -> None:
    app.command("translate")(translate)


def translate(
    context: typer.Context,
    run: Annotated[str, Argument(help="a run directory, or the name of one in ./runs")],
    sentence: Annotated[str | None, Argument(help="or the lines of standard input")] = None,
    beam: Annotated[int | None, Option(min=1, help="hypotheses followed; 1 is greedy")] = None,
    n_best: Annotated[int, Option(min=1, help="translations per sentence")] = 1,
    prefix: Annotated[str | None, Option(help="what translations begin with")] = None,
    sample: Annotated[
        bool, Option("--sample", help="draw tokens at random; options for it follow")
    ] = False,
    temperature: drawing.Temperature = None,
    top_k: drawing.TopK = None,
    top_p: drawing.TopP = None,
    min_p: drawing.MinP = None,
    typical_p: drawing.TypicalP = None,
    repetition_penalty: drawing.RepetitionPenalty = None,
    presence_penalty: drawing.PresencePenalty = None,
    frequency_penalty: drawing.FrequencyPenalty = None,
    logit_bias: drawing.LogitBias = None,
    seed: drawing.Seed = None,
    batch_tokens: Annotated[int | None, Option(min=1, help="tokens decoded at a time")] = None,
    weights: Annotated[str, Option(help="which weights of the run: best, averaged, …")] = "model",
    encoding: Annotated[str, Option(help="of standard input")] = "utf-8",
    as_json: Annotated[bool, Option("--json", help="one JSON object a line")] = False,
) -> None:
    """Translate the lines of standard input, or one sentence, or what is typed at a prompt.

    With --n-best over 1, lines are: line number, score and translation, separated by tabs.
    """
    given = drawing.given(context)
    if given and not sample:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ConfigError(f"{options}: only with --sample", remedy="add --sample")
    if sample and beam is not None:
        raise ConfigError("--beam and --sample exclude each other", remedy="drop one of them")
    from peluche.data.readers import check_encoding, read_lines
    from peluche.nn.machine import tune_allocator
    from peluche.tasks.load import load_translator

    check_encoding(encoding)
    tune_allocator()
    translator = load_translator(run, weights=weights)
    sampling = drawing.parameters(given) if sample else None
    config = translator.options(
        beams=beam, n_best=n_best, sampling=sampling, batch_tokens=batch_tokens
    )
    talking = sentence is None and sys.stdin.isatty()
    lines = [sentence] if sentence is not None else read_lines("-", encoding)
    found = translator.stream(
        _typed() if talking else lines,
        config,
        prefix=prefix,
        scores=as_json or n_best > 1,
        block=1 if talking else 1024,
    )
    _print(found, n_best, as_json, quiet=talking)


def _typed() -> Iterator[str]:
    """Lines typed at a prompt, until Ctrl-D or Ctrl-C."""
    print("Type a sentence; Ctrl-D ends.", file=sys.stderr)
    while True:
        try:
            yield input("> ")
        except (EOFError, KeyboardInterrupt):
            print(file=sys.stderr)
            return


def _print(found: Iterable[Translation], n_best: int, as_json: bool, *, quiet: bool) -> None:
    start, sentences, tokens = time.perf_counter(), 0, 0
    for sentences, result in enumerate(found, start=1):
        tokens += len(result.tokens)
        for rank, candidate in enumerate(result.candidates, start=1):
            # A line break in a translation would break the alignment with the source.
            text = candidate.translation.replace("\n", " ")
            line = text if n_best == 1 else f"{sentences}\t{candidate.score:.4f}\t{text}"
            if as_json:
                item: dict[str, Any] = {"source": result.source, "translation": text}
                item |= {"score": candidate.score} | ({"rank": rank} if n_best > 1 else {})
                line = json.dumps(item, ensure_ascii=False)
            print(line, flush=True)
    seconds = time.perf_counter() - start
    if seconds > QUIET_SECONDS and not quiet:
        print(
            f"{sentences:,} sentences, {tokens:,} tokens in {seconds:.1f} s: "
            f"{sentences / seconds:,.1f} sentences/s, {tokens / seconds:,.0f} tokens/s",
            file=sys.stderr,
        )
