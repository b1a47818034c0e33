"""`peluche translate`: sentences in, translations out, one a line."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer import Argument, Option

from peluche.cli import drawing
from peluche.cli.translating import print_translations, typed
from peluche.errors import ConfigError


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
        typed() if talking else lines,
        config,
        prefix=prefix,
        scores=as_json or n_best > 1,
        block=1 if talking else 1024,
    )
    print_translations(found, n_best, as_json, quiet=talking)
