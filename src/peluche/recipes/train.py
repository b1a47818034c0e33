"""From a recipe to a finished run directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from peluche.hub.run import RunDirectory
from peluche.metrics import Score
from peluche.nn.machine import describe_machine, tune_allocator
from peluche.recipes.base import Recipe, Say, phase, silent
from peluche.recipes.recipe import parse_recipe
from peluche.training.events import Hook
from peluche.training.hooks import EpochMeans, KeepBest, Log
from peluche.training.loop import Trainer


def train_recipe(
    recipe: Recipe,
    path: Path,
    *,
    hooks: Sequence[Hook] = (),
    say: Say = silent,
) -> tuple[RunDirectory, str]:
    """Run a recipe in a new run directory; returns it and why training stopped.

    Raises:
        CheckpointError: `path` holds something already.
        DataError: the corpus cannot be read.
    """
    run = RunDirectory.create(path, recipe.model_dump(mode="json"))
    with run.lock():
        return run, _train(recipe, run, hooks, say, resume=False)


def resume_run(
    path: Path, *, hooks: Sequence[Hook] = (), say: Say = silent
) -> tuple[RunDirectory, str]:
    """Go on with a run that was stopped, from its last intact state, to the same weights.

    Raises:
        CheckpointError: `path` is not a run.
    """
    run = RunDirectory.open(path)
    recipe = parse_recipe(run.config, where=str(path / "config.yaml"))
    with run.lock():
        return run, _train(recipe, run, hooks, say, resume=True)


def _train(
    recipe: Recipe, run: RunDirectory, hooks: Sequence[Hook], say: Say, *, resume: bool
) -> str:
    config = recipe.training
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    tune_allocator()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run.log({"event": "machine", "machine": describe_machine()})
    parts = recipe.assemble(run, device, say)
    hooks = [Log(run, config.log_every), EpochMeans(run), *parts.hooks, *hooks]
    if config.select != "last":
        hooks.append(KeepBest(run, config.select, config.patience))
    trainer = Trainer(
        run,
        parts.model,
        parts.objective,
        parts.stream,
        recipe.optimizer.build(parts.model),
        recipe.schedule,
        config,
        parts.evaluator,
        hooks,
        say,
    )
    parameters = sum(parameter.numel() for parameter in parts.model.parameters())
    facts = [f"{name} {number:,}" for name, number in parts.facts.items()]
    say(", ".join([f"model: {parameters:,} parameters", *facts]))
    run.log({"event": "model", "parameters": parameters, **parts.facts})
    with phase(run, "train", say):
        reason = trainer.fit(resume)
    if config.select != "last" and "best" in run.weights():
        best = run.load_weights("best")
        run.save_weights(best, "model", {"weights": "best"})
        parts.model.load_state_dict(best)
        recipe.finish(run, parts)
    else:
        with trainer.averaged_weights():
            run.save_weights(parts.model.state_dict(), "model", {"weights": "last"})
            recipe.finish(run, parts)
    return reason


def evaluate_run(
    run: RunDirectory, task: Any, say: Say = silent
) -> tuple[list[Score], list[dict[str, Any]]]:
    """Score the run's test set as its recipe says; logs the scores."""
    return parse_recipe(run.config, where=str(run.path)).evaluate(run, task, say)
