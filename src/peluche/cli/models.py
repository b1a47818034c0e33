"""`peluche models`: pretrained models, by name."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from typer import Argument, Option

models = typer.Typer(help="Pretrained models: list, fetch, describe.", no_args_is_help=True)

Json = Annotated[bool, Option("--json", help="one JSON object a line")]


def register(app: typer.Typer) -> None:
    app.add_typer(models, name="models")


@models.command("list")
def list_models(as_json: Json = False) -> None:
    """Every model that is known by name."""
    from peluche.cli.tables import print_columns
    from peluche.hub.model_catalogue import find_pretrained, pretrained_models

    rows: list[dict[str, Any]] = [
        {
            "model": name,
            "what": entry.what,
            "megabytes": round(entry.wheel.bytes / 1e6),
            "licence": entry.licence,
            "here": find_pretrained(name) is not None,
        }
        for name, entry in pretrained_models().items()
    ]
    if as_json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
        return
    head = ["model", "what", "MB", "licence", "here"]
    cells = [[*map(str, list(row.values())[:-1]), "yes" if row["here"] else ""] for row in rows]
    print_columns([head, *cells])


@models.command("pull")
def pull_model(
    name: Annotated[str, Argument(help="as in: peluche models list; or hf:OWNER/NAME")],
) -> None:
    """Fetch a model into the cache; prints where it is."""
    from peluche.hub.hub_models import PREFIX, pull_from_hub
    from peluche.hub.model_catalogue import pull
    from peluche.hub.resolve import known_model

    def say(message: str) -> None:
        print(f"peluche: {message}", file=sys.stderr)

    if name.startswith(PREFIX):
        print(pull_from_hub(name, say, newest=True))
    else:
        print(pull(known_model(name), say))


@models.command("show")
def show_model(
    model: Annotated[str, Argument(help="a name, a GGUF file, a Hugging Face folder, or a run")],
    as_json: Json = False,
) -> None:
    """What a model is: its settings, parameters and vocabulary."""
    from peluche.cli.tables import print_columns
    from peluche.hub.resolve import open_source

    source = open_source(model)
    weights = source.load_weights()
    distinct = {tensor.data_ptr(): tensor.numel() for tensor in weights.values()}
    facts: dict[str, Any] = {
        "path": str(source.path),
        "task": source.config.get("task", "translation"),
        "parameters": sum(distinct.values()),
        **{key: value for key, value in source.config["model"].items() if value is not None},
    }
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    print_columns([[key, str(value)] for key, value in facts.items()])
