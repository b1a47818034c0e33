"""From a recipe to a finished run directory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from peluche.data.batching import TranslationStream
from peluche.data.sources import Pair, SkipReport, Source
from peluche.errors import DataError
from peluche.hub.run import RunDirectory
from peluche.metrics import Score, score
from peluche.nn.machine import describe_machine, tune_allocator
from peluche.recipes.recipe import Recipe
from peluche.tasks.translate import Translator
from peluche.text.tokenizer import Tokenizer
from peluche.training.evaluators import TranslationEvaluator
from peluche.training.events import Hook
from peluche.training.hooks import KeepBest, Log
from peluche.training.loop import Trainer

Say = Callable[[str], None]


def silent(message: str) -> None:
    """Say nothing."""


@contextmanager
def phase(run: RunDirectory, name: str, say: Say) -> Iterator[None]:
    """Time a phase; say and log how long it took."""
    started = time.perf_counter()
    yield
    seconds = time.perf_counter() - started
    say(f"{name}: {seconds:.1f} s")
    run.log({"event": "phase", "name": name, "seconds": seconds})


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
    recipe = Recipe.parse(run.config, where=str(path / "config.yaml"))
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
    with phase(run, "read the corpus", say):
        train = _Corpus(recipe.data.train, recipe.batching.window is None, say)
        validation = read_pairs(recipe.data.validation, say)
    with phase(run, "learn the vocabulary", say):
        tokenizer = _tokenizer(recipe, run, train.read)
    torch.manual_seed(config.seed)
    model = recipe.model.build(len(tokenizer)).to(device)
    with phase(run, "encode the corpus", say):
        stream = TranslationStream(train.read, tokenizer, recipe.batching, config.seed, say)
        stream.warm()
    objective = recipe.objective.build()
    evaluator = TranslationEvaluator(
        model,
        objective,
        TranslationStream(lambda: validation, tokenizer, recipe.batching),
        validation,
        Translator(model, tokenizer, recipe.decoding),
        recipe.evaluation,
    )
    hooks = [Log(run, config.log_every), *hooks]
    if config.select != "last":
        hooks.append(KeepBest(run, config.select, config.patience))
    trainer = Trainer(
        run,
        model,
        objective,
        stream,
        recipe.optimizer.build(model),
        recipe.schedule,
        config,
        evaluator,
        hooks,
        say,
    )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    say(f"model: {parameters:,} parameters, {len(tokenizer):,} tokens in the vocabulary")
    run.log({"event": "model", "parameters": parameters, "vocabulary": len(tokenizer)})
    with phase(run, "train", say):
        reason = trainer.fit(resume)
    if config.select != "last" and "best" in run.weights():
        run.save_weights(run.load_weights("best"), "model", {"weights": "best"})
    else:
        with trainer.averaged_weights():
            run.save_weights(model.state_dict(), "model", {"weights": "last"})
    return reason


class _Corpus:
    """Pairs of a source: kept after the first reading, or read anew each time."""

    def __init__(self, source: Source, keep: bool, say: Say) -> None:
        self.source = source
        self.kept = read_pairs(source, say) if keep else None

    def read(self) -> Iterator[Pair]:
        return iter(self.kept) if self.kept is not None else self.source.read()


def read_pairs(source: Source, say: Say = silent) -> list[Pair]:
    """All pairs of a source; says how many were skipped for an empty side.

    Raises:
        DataError: if there is none.
    """
    skipped = SkipReport()
    pairs = list(source.read(skipped))
    if skipped.empty:
        say(str(skipped))
    if not pairs:
        raise DataError("the corpus holds no pairs", where=source, remedy="check the files")
    return pairs


def _tokenizer(recipe: Recipe, run: RunDirectory, read: Callable[[], Iterator[Pair]]) -> Tokenizer:
    if (run.path / "tokenizer.json").exists():
        return run.tokenizer()
    texts = (text for pair in read() for text in (pair.source, pair.target))
    tokenizer = recipe.tokenizer.build(texts)
    run.save_tokenizer(tokenizer)
    return tokenizer


def evaluate_run(
    run: RunDirectory, translator: Translator, recipe: Recipe, say: Say = silent
) -> tuple[list[Score], list[dict[str, Any]]]:
    """Translate and score the test set as the recipe's protocol says; logs the scores."""
    source = recipe.data.test or recipe.data.validation
    pairs = read_pairs(source, say)
    started = time.perf_counter()
    hypotheses = translator.translate([pair.source for pair in pairs])
    seconds = time.perf_counter() - started
    scores = score(
        recipe.evaluation.metrics,
        hypotheses,
        [pair.target for pair in pairs],
        **recipe.evaluation.score_options(),
    )
    run.log(
        {
            "event": "test",
            "data": source.model_dump(mode="json"),
            "decoding": recipe.decoding.model_dump(mode="json"),
            "scores": [item.as_json() for item in scores],
            "sentences": len(pairs),
            "seconds": seconds,
        }
    )
    examples = [
        {"source": pair.source, "reference": pair.target, "translation": hypothesis}
        for pair, hypothesis in zip(pairs, hypotheses, strict=True)
    ]
    return scores, examples
