"""From a recipe to a finished run directory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from peluche.hub.run import RunDirectory
from peluche.hub.untrained import nothing_trained
from peluche.metrics import Score
from peluche.nn.machine import describe_machine, give_back_memory, tune_allocator
from peluche.processes import Processes, in_turn, joined, needing_others
from peluche.recipes.base import Recipe, Say, phase, silent
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.resuming import changed_settings, recipe_to_resume
from peluche.training.events import Hook
from peluche.training.hooks import EpochMeans, KeepBest, Log
from peluche.training.layers import compile_layers, forget_activations
from peluche.training.loop import Trainer
from peluche.training.states import seed_process


@needing_others()
def train_recipe(
    recipe: Recipe,
    path: Path,
    *,
    hooks: Sequence[Hook] = (),
    say: Say = silent,
) -> tuple[RunDirectory, str]:
    """Run a recipe in a new run directory; returns it and why training stopped.

    Raises:
        CheckpointError: `path` holds something already, other than a run without training.
        ConfigError: a model to start from is none that the recipe can start from.
        DataError: the corpus cannot be read.
        PeerError: another process of the same run has ended.
    """
    # One recipe for all: what follows from measurements may differ.
    recipe = joined().agree(recipe.completed())
    processes = _processes_for(recipe)
    if processes.first:
        run = RunDirectory.create(path, recipe.model_dump(mode="json"))
    processes.wait()
    if not processes.first:
        run = RunDirectory.open(path, follows=True)
    return run, _train(recipe, run, hooks, say, processes, resume=False)


@needing_others()
def resume_run(
    path: Path,
    *,
    changes: Sequence[str] = (),
    hooks: Sequence[Hook] = (),
    say: Say = silent,
) -> tuple[RunDirectory, str]:
    """Go on with a run that was stopped, from its last intact state, to the same weights.

    Args:
        changes: `key=value`, of settings that weights do not follow from; see `recipe_to_resume`.

    Raises:
        CheckpointError: `path` is not a run, or nothing has been trained in it yet.
        ConfigError: a change of another setting.
        PeerError: another process of the same run has ended.
    """
    run = RunDirectory.open(path, follows=not joined().first)
    if run.untrained:
        raise nothing_trained(path)
    recipe = recipe_to_resume(run, changes)
    processes = _processes_for(recipe)
    return run, _train(recipe, run, hooks, say, processes, resume=True)


def _processes_for(recipe: Recipe) -> Processes:
    """Those that torchrun started, once they can share the recipe's steps.

    Raises:
        ConfigError: they cannot.
    """
    processes = joined().in_teams(recipe.training.parallel.tensor)
    processes.share(range(recipe.training.accumulate))
    return processes


def _train(
    recipe: Recipe,
    run: RunDirectory,
    hooks: Sequence[Hook],
    say: Say,
    processes: Processes,
    *,
    resume: bool,
) -> str:
    if not processes.first:
        hooks, say = (), silent
    try:
        with run.lock() if processes.first else nullcontext():
            reason = _train_locked(recipe, run, hooks, say, processes, resume=resume)
    except KeyboardInterrupt:
        if run.untrained:
            say("stopped before the first step: nothing was trained; the same command begins anew")
        else:
            say(f"stopped; go on from the last state with:\n  peluche train --resume {run.path}")
        raise
    give_back_memory()
    return reason


def _train_locked(
    recipe: Recipe,
    run: RunDirectory,
    hooks: Sequence[Hook],
    say: Say,
    processes: Processes,
    *,
    resume: bool,
) -> str:
    config = recipe.training
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    tune_allocator()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run.log({"event": "machine", "machine": describe_machine(), "processes": processes.count})
    if resume and (settings := changed_settings(run, recipe)):
        run.log({"event": "settings", **settings})
    parts = in_turn(processes, lambda: recipe.assemble(run, device, say))
    replica = config.parallel.build(parts.model, parts.objective, processes)
    if config.checkpointing:
        forget_activations(replica.trained)
    if config.compile:
        compile_layers(replica.trained)
    if team := processes.rank // processes.team:
        seed_process(config.seed, team)
    if processes.first:
        hooks = [Log(run, config.log_every), EpochMeans(run), *parts.hooks, *hooks]
        if config.select != "last":
            hooks = [*hooks, KeepBest(run, config.select, config.patience)]
    parameters = sum(parameter.numel() for parameter in replica.trained.parameters())
    trainer = Trainer(
        run,
        replica,
        parts.stream,
        recipe.optimizer.build(replica.trained),
        recipe.schedule,
        config,
        parts.evaluator,
        hooks,
        say,
        processes,
    )
    facts = [f"{name} {number:,}" for name, number in parts.facts.items()]
    say(", ".join([f"model: {parameters:,} parameters", *facts]))
    run.log({"event": "model", "parameters": parameters, **parts.facts})
    with phase(run, "train", say):
        reason = trainer.fit(resume)
    ended = not reason.startswith("stopped by")
    if config.select != "last" and "best" in run.weights():
        if processes.first:
            best = run.load_weights("best")
            run.save_weights(best, "model", {"weights": "best"})
            parts.model.load_state_dict(best)
            if ended:
                recipe.finish(run, parts)
    else:
        with trainer.weights_shown():
            if processes.first:
                run.save_weights(parts.model.state_dict(), "model", {"weights": "last"})
                if ended:
                    recipe.finish(run, parts)
    processes.wait()
    return reason


def evaluate_run(
    run: RunDirectory, task: Any, say: Say = silent
) -> tuple[list[Score], list[dict[str, Any]]]:
    """Score the run's test set as its recipe says; logs the scores."""
    return parse_recipe(run.config, where=str(run.path)).evaluate(run, task, say)
