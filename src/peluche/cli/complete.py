"""`peluche complete`: the beginnings of texts in, what comes after them out."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from typer import Argument, Option


def register(app: typer.Typer) -> None:
    app.command("complete")(complete)


def complete(
    run: Annotated[str, Argument(help="a run directory, or the name of one in ./runs")],
    prompt: Annotated[str | None, Argument(help="or the lines of standard input")] = None,
    max_tokens: Annotated[int, Option(min=1, help="the most to write")] = 200,
    greedy: Annotated[bool, Option("--greedy", help="the likeliest token each time")] = False,
    temperature: Annotated[float, Option(help="sharper below 1")] = 1.0,
    top_k: Annotated[int | None, Option(help="draw from the k likeliest")] = None,
    top_p: Annotated[float, Option(help="draw from the likeliest p")] = 1.0,
    min_p: Annotated[float, Option(help="draw from those with a share of the likeliest")] = 0.0,
    seed: Annotated[int, Option(help="equal seeds, equal draws")] = 0,
    samples: Annotated[int, Option(min=1, help="completions of each prompt")] = 1,
    suffix: Annotated[str | None, Option(help="what comes after: write what is between")] = None,
    weights: Annotated[str, Option(help="which weights of the run: best, averaged, …")] = "model",
    encoding: Annotated[str, Option(help="of standard input")] = "utf-8",
    as_json: Annotated[bool, Option("--json", help="one JSON object a line")] = False,
) -> None:
    """Go on with a text, or with each line of standard input. Prints prompt and completion.

    Tokens are drawn from the model's distribution unless --greedy asks for the likeliest.
    """
    from peluche.data.readers import check_encoding, read_lines
    from peluche.errors import ConfigError
    from peluche.generation.sampling import SamplingParameters
    from peluche.nn.machine import tune_allocator
    from peluche.tasks.load import load_completer

    if greedy and samples > 1:
        raise ConfigError("--greedy has one completion", remedy="drop --greedy or --samples")
    check_encoding(encoding)
    tune_allocator()
    completer = load_completer(run, weights=weights)
    drawing = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "seed": seed,
    }
    sampling = None if greedy else SamplingParameters.parse(drawing, where="the sampling options")
    prompts = [prompt] if prompt is not None else list(read_lines("-", encoding))
    for found in completer.complete(
        prompts, max_tokens=max_tokens, sampling=sampling, n_best=samples, suffix=suffix
    ):
        if as_json:
            print(json.dumps(found.as_json(), ensure_ascii=False), flush=True)
        else:
            print(found.prompt + found.text + (suffix or ""), flush=True)
