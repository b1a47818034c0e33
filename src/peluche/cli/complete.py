"""`peluche complete`: the beginnings of texts in, what comes after them out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from peluche.cli import drawing, generating
from peluche.cli.complete_options import check_options


def register(app: typer.Typer) -> None:
    app.command("complete")(complete)


def complete(
    context: typer.Context,
    model: Annotated[str, Argument(help="a run, a GGUF file, a folder, or a known name")],
    prompt: Annotated[str | None, Argument(help="or the lines of standard input")] = None,
    max_tokens: generating.MaxTokens = None,
    stop: generating.Stop = None,
    on_overflow: generating.OnOverflow = None,
    greedy: Annotated[bool, Option("--greedy", help="the likeliest token each time")] = False,
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
    samples: Annotated[int, Option(min=1, help="completions of each prompt")] = 1,
    beams: Annotated[int, Option(min=1, help="hypotheses followed; 1 follows none")] = 1,
    penalty_alpha: Annotated[
        float | None, Option(help="contrastive search: minds what is like what was said")
    ] = None,
    candidates: Annotated[
        int | None, Option(min=2, help="with --penalty-alpha: how many; 4 unless given")
    ] = None,
    suffix: Annotated[str | None, Option(help="what comes after: write what is between")] = None,
    logprobs: Annotated[
        int | None, Option(help="with --json or --batch: so many tokens at each")
    ] = None,
    schema: Annotated[Path | None, Option(help="a JSON schema to follow")] = None,
    regex: Annotated[str | None, Option(help="an expression to match as a whole")] = None,
    grammar: Annotated[Path | None, Option(help="a grammar to follow, in Lark's notation")] = None,
    batch: Annotated[Path | None, Option(help="requests, one JSON object a line")] = None,
    output: Annotated[Path | None, Option("--output", "-o", help="of --batch; goes on")] = None,
    unordered: Annotated[bool, Option("--unordered", help="--batch: first done first")] = False,
    precision: generating.Precision = "auto",
    kv_cache: generating.KVCache = "float32",
    memory: generating.Memory = None,
    threads: generating.Threads = None,
    lookup: generating.Lookup = False,
    draft: generating.Draft = None,
    weights: generating.RunWeights = "model",
    encoding: generating.Encoding = "utf-8",
    as_json: generating.AsJson = False,
) -> None:
    """Go on with a text, or with each line of standard input. Prints prompt and completion.

    Tokens are drawn from the model's distribution unless --greedy asks for the likeliest. With
    --batch, each line has a prompt and settings of its own; -o FILE goes on where it stopped.
    """
    check_options(context)
    from peluche.cli import completing
    from peluche.data.readers import check_encoding, read_lines

    check_encoding(encoding)
    options = generating.given(context) | completing.guide(schema, regex, grammar)
    if greedy:
        options["temperature"] = 0.0
    if logprobs is not None:
        options["logprobs"] = logprobs
    if batch is not None:
        lines = read_lines(batch, encoding)
        generator = generating.start(context, lambda completer, generator: generator)
        completing.batch(generator, lines, options, output, ordered=not unordered)
        return
    prompts = [prompt] if prompt is not None else read_lines("-", encoding)
    asked = completing.Asked(prompts, options, samples, suffix, as_json)
    if beams > 1:
        asked.search(generating.load(context), beams=beams, n_best=samples)
    elif penalty_alpha is not None:
        completer = generating.load(context)
        asked.search(completer, penalty_alpha=penalty_alpha, candidates=candidates or 4)
    else:
        generator, requests = generating.start(
            context, lambda completer, generator: (generator, asked.requests(completer))
        )
        asked.write(generator, requests)
    if asked.error is not None:
        raise typer.Exit(asked.error.exit_code)
