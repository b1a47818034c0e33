"""`peluche explain`: one text's way through a model, as a page, as pictures or as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

SPANS = "span_corruption"


def register(app: typer.Typer) -> None:
    app.command("explain")(explain)


def explain(
    model: Annotated[str, Argument(help="a run, a GGUF file, a Hugging Face folder, or a name")],
    text: Annotated[str, Argument(help="the text to follow, in quotes; - for standard input")],
    output: Annotated[
        Path | None,
        Option(
            "--output",
            "-o",
            help="the page; report/explain.html of a run, else ./explain.html, if not given",
        ),
    ] = None,
    as_json: Annotated[
        bool, Option("--json", help="print the numbers as one JSON object; no page")
    ] = False,
    pictures: Annotated[
        Path | None, Option(help="folder to write pictures to as well, as PNG and SVG")
    ] = None,
    candidates: Annotated[int, Option(min=1, help="most probable tokens at each place")] = 8,
    beams: Annotated[int | None, Option(min=1, help="hypotheses of a search")] = None,
    layers: Annotated[str | None, Option(help="of a text: only these, such as 1,4-6")] = None,
    heads: Annotated[str | None, Option(help="of a text: only these, such as 1,4-6")] = None,
    tokens: Annotated[int | None, Option(min=1, help="of a text: so many at most (512)")] = None,
    weights: Annotated[str, Option(help="which weights of a run: model, best, …")] = "model",
) -> None:
    """Follow one text through a model, step by step, on one web page."""
    from peluche.cli.terminal import counted, say
    from peluche.data.readers import read_text
    from peluche.hub.resolve import open_source
    from peluche.hub.run import RunDirectory
    from peluche.reporting.explain import PAGE, explain_task
    from peluche.reporting.page import write_page
    from peluche.reporting.text_reading import View
    from peluche.tasks.load import load_task, task_of

    source = open_source(model)
    options: dict[str, object] = {
        "beams": beams,
        "layers": layers,
        "heads": heads,
        "tokens": tokens,
    }
    task = task_of(source)
    _check(task, options)
    numbers = _numbers(layers, "layers"), _numbers(heads, "heads")
    view = View(*numbers, tokens or 512, candidates, beams)
    own = {} if beams is None or task == SPANS else {"beams": beams}
    loaded = load_task(model, weights=weights, **own)
    explanation = explain_task(loaded, read_text("-") if text == "-" else text, view)
    for note in getattr(explanation, "notes", ()):
        say(note)
    if pictures is not None:
        from peluche.reporting.pictures import write_pictures

        written = write_pictures(explanation, pictures)
        say(f"{counted(len(written), 'picture')} in {pictures}")
    if as_json:
        print(json.dumps(explanation.as_json(), ensure_ascii=False))
        return
    page = output or (source.report_path / PAGE if isinstance(source, RunDirectory) else Path(PAGE))
    write_page(explanation, page)
    translation = getattr(explanation, "target", None)
    say(("" if translation is None else f"'{translation.text}': ") + "open this page in a browser")
    print(page)


def _check(task: str, options: dict[str, object]) -> None:
    """Refuse options that this kind of model makes no use of."""
    from peluche.errors import ConfigError

    of_texts = {"layers", "heads", "tokens"}
    searches = {name: {"beams"} for name in ("translation", "summarisation", SPANS)}
    known = {**searches, "word_vectors": set()}.get(task, of_texts)
    for name, value in options.items():
        if value is not None and name not in known:
            raise ConfigError(f"--{name} has no meaning for {task}", remedy=f"drop --{name}")


def _numbers(text: str | None, name: str) -> list[int] | None:
    """`1,4-6` as numbers."""
    from peluche.errors import ConfigError

    if text is None:
        return None
    try:
        ends = [[int(end) for end in part.split("-")] for part in text.split(",")]
        return [number for first, *rest in ends for number in range(first, [first, *rest][-1] + 1)]
    except ValueError:
        raise ConfigError(f"'{text}' are no numbers", remedy=f"--{name} 1,4-6") from None
