"""A scaling law from small runs: train a grid of sizes and tokens, fit the constants."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from peluche import files
from peluche.errors import DataError
from peluche.hub.run import RunDirectory
from peluche.hub.run_config import is_run
from peluche.recipes.base import Say
from peluche.recipes.dial import Planner
from peluche.recipes.language import LanguageRecipe
from peluche.recipes.measuring import corpus_name
from peluche.recipes.recipe import load_recipe
from peluche.recipes.scaling_law import ScalingLaw, effective_tokens
from peluche.recipes.sizing import Shape, turned
from peluche.recipes.train import resume_run, train_recipe
from peluche.studies.trial import INTERRUPTED, TERMINATED, Stopped, check_settings

# (layers, width) and, for each, millions of tokens.
GRID: dict[tuple[int, int], tuple[float, ...]] = {
    (1, 32): (0.1, 0.2, 0.4),
    (2, 48): (0.1, 0.4, 1.6),
    (2, 64): (0.2, 0.8),
    (3, 96): (0.1, 0.3),
}
HUBER = 1e-3


class Point(NamedTuple):
    """A run: parameters, effective tokens and the validation loss in nats per token."""

    parameters: float
    tokens: float
    loss: float


def run_scaling(folder: Path, recipe: str, changes: Sequence[str], say: Say) -> dict[str, Any]:
    """Train the grid in `folder`/runs and fit a law; what is finished is not run again.

    Returns what is written to study.json: every run, and the law's constants.

    Raises:
        ConfigError: the recipe has no dial, or a run was begun with other settings.
        Stopped: by Ctrl-C or SIGTERM; the run's state is saved.
    """
    planner = Planner(load_recipe(recipe, changes), say)
    runs = []
    for (layers, width), millions in GRID.items():
        for tokens in millions:
            shape = Shape(layers, width)
            sized = turned(planner.recipe, shape, tokens * 1e6, planner.counts(shape)[1])
            runs.append(_trained(sized, folder / "runs" / f"{layers}x{width}-{tokens:g}M", say))
    points = [Point(one["parameters"], one["effective"], one["loss"]) for one in runs]
    law = fit_law(points, corpus_name(planner.recipe.data.train), planner.corpus.vocabulary)
    worst = max(abs(law.loss(p.parameters, p.tokens, math.inf) / p.loss - 1) for p in points)
    found = {"law": law.model_dump(), "worst": worst, "runs": runs}
    files.write_text(folder / "study.json", json.dumps(found, indent=1))
    return found


def _trained(recipe: LanguageRecipe, path: Path, say: Say) -> dict[str, Any]:
    """What a run came to, which is trained unless it is finished already."""
    check_settings(path, recipe)
    if not is_run(path) or RunDirectory.open(path).untrained:
        say(f"run {path.name}")
        reason = train_recipe(recipe, path, say=say)[1]
    elif not _ended(path):
        reason = resume_run(path, say=say)[1]
    else:
        return _read(path)
    if reason.startswith("stopped by"):
        raise Stopped(INTERRUPTED if "SIGINT" in reason else TERMINATED)
    return _read(path)


def _ended(path: Path) -> bool:
    stops = [event for event in RunDirectory.open(path).events() if event["event"] == "stop"]
    return bool(stops) and stops[-1]["reason"] == "finished"


def _read(path: Path) -> dict[str, Any]:
    run = RunDirectory.open(path)
    events = list(run.events())
    model = next(event for event in events if event["event"] == "model")
    loss = [event["nll"] for event in events if event["event"] == "evaluate"][-1]
    tokens = sum(event["tokens"] for event in events if event["event"] == "step")
    return {
        "run": path.name,
        "parameters": model["parameters"],
        "tokens": tokens,
        "epochs": tokens / model["tokens"],
        "effective": effective_tokens(tokens, model["tokens"]),
        "loss": loss,
    }


def fit_law(points: Sequence[Point], fitted_on: str, vocabulary: int) -> ScalingLaw:
    """Least Huber loss of log L over all runs, from a grid of starts (Hoffmann et al. 2022, eq. 3).

    The sum of the runs' losses, not their mean, and tight tolerances: with a mean, L-BFGS stops
    early (Besiroglu et al. 2024, §3.1).

    Raises:
        DataError: fewer runs than constants, or none that follow such a law.
    """
    if len(points) < 6:
        raise DataError(f"{len(points)} runs are too few for five constants", remedy="give six")
    columns = zip(*points, strict=True)
    n, d, loss = (torch.tensor(column, dtype=torch.float64).log() for column in columns)
    best: tuple[float, list[float]] = (math.inf, [])
    for a, b in itertools.product((0.0, 10.0), repeat=2):
        found = torch.tensor([a, b, 0.0, 0.5, 0.5], dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [found],
            max_iter=200,
            tolerance_grad=1e-10,
            tolerance_change=1e-14,
            line_search_fn="strong_wolfe",
        )

        def closure(found: Tensor = found, optimizer: torch.optim.Optimizer = optimizer) -> Tensor:
            optimizer.zero_grad()
            size, data, rest, alpha, beta = found
            said = torch.stack([size - alpha * n, data - beta * d, rest.expand_as(n)])
            said = said.logsumexp(0)
            error = torch.nn.functional.huber_loss(said, loss, reduction="sum", delta=HUBER)
            error.backward()
            return error

        optimizer.step(closure)
        error = closure().item()
        if error < best[0] and bool((found[3:] > 0).all()):
            best = (error, found.detach().tolist())
    if not best[1]:
        raise DataError(
            "no law fits these runs: their loss does not fall with size and tokens",
            remedy="train more sizes, and each for more numbers of tokens",
        )
    size, data, rest, alpha, beta = best[1]
    return ScalingLaw(
        irreducible=math.exp(rest),
        a=math.exp(size),
        alpha=alpha,
        b=math.exp(data),
        beta=beta,
        fitted_on=fitted_on,
        vocabulary=vocabulary,
        runs=len(points),
    )
