"""`peluche config`: what recipes may say."""

from __future__ import annotations

import json

import typer

config_app = typer.Typer(no_args_is_help=True, help="What recipes may say.")


@config_app.command()
def schema() -> None:
    """Print the JSON schema of recipes, for editors that check YAML."""
    from peluche.recipes.recipe import recipe_schema

    print(json.dumps(recipe_schema(), indent=2))


@config_app.command()
def show(
    recipe: str = typer.Argument(help="A shipped recipe's name, or a .yaml file."),
    changes: list[str] = typer.Argument(default=None, help="Changes, such as model.layers=6."),
) -> None:
    """Print a recipe with every default filled in, as YAML."""
    import yaml

    from peluche.recipes.recipe import load_recipe

    values = load_recipe(recipe, changes or [], "on the command line").model_dump(mode="json")
    print(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), end="")


def register(app: typer.Typer) -> None:
    app.add_typer(config_app, name="config")
