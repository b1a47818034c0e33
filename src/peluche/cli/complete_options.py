"""Which options of `peluche complete` exclude one another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from peluche.errors import ConfigError


def check_options(context: typer.Context) -> None:
    """Refuse options of the verb that do not go together.

    Raises:
        ConfigError: some do not.
    """
    given = context.params
    _check_greedy(given)
    _check_search(given)
    _check_batch(given)
    _check_logprobs(given)


def _check_greedy(given: dict[str, Any]) -> None:
    if given["greedy"] and given["samples"] > 1:
        raise ConfigError("--greedy has one completion", remedy="drop --greedy or --samples")
    if given["greedy"] and given["temperature"]:
        raise ConfigError("--greedy is temperature 0", remedy="drop --greedy or --temperature")


def _check_logprobs(given: dict[str, Any]) -> None:
    if given["logprobs"] is not None and not given["as_json"] and given["batch"] is None:
        raise ConfigError("--logprobs is for --json and --batch", remedy="give --json")


def _check_batch(given: dict[str, Any]) -> None:
    batch, output = given["batch"], given["output"]
    if batch is None:
        if output is not None or given["unordered"]:
            raise ConfigError(
                "--output and --unordered are for --batch", remedy="give --batch FILE"
            )
        return
    usual = {"prompt": None, "suffix": None, "samples": 1, "beams": 1, "penalty_alpha": None}
    if any(given[name] != value for name, value in usual.items()):
        raise ConfigError(
            "with --batch, prompts are in the file", remedy="drop the other ways to ask"
        )
    if output is not None and _same(batch, output):
        raise ConfigError(
            "--output is the file of --batch itself",
            where=output,
            remedy="give the name of another file",
        )


def _check_search(given: dict[str, Any]) -> None:
    """Refuse what the search that was asked for would pass over."""
    contrastive = given["penalty_alpha"] is not None
    if given["candidates"] is not None and not contrastive:
        raise ConfigError("--candidates is for --penalty-alpha", remedy="give --penalty-alpha")
    if given["beams"] == 1 and not contrastive:
        return
    if given["beams"] > 1 and contrastive:
        raise ConfigError(
            "--beams and --penalty-alpha exclude each other", remedy="drop one of them"
        )
    if contrastive and given["samples"] > 1:
        raise ConfigError(
            "--penalty-alpha has one completion", remedy="drop --penalty-alpha or --samples"
        )
    # A search runs the model as it is, not by the engine.
    usual = {
        "precision": "auto",
        "kv_cache": "float32",
        "memory": None,
        "lookup": False,
        "draft": None,
    }
    others = [
        f"--{name.replace('_', '-')}" for name, value in usual.items() if given[name] != value
    ]
    if others:
        raise ConfigError(
            f"with this search, there is no {', '.join(others)}",
            remedy="drop --beams or --penalty-alpha, or the other options",
        )


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)
