"""Speeds of the ladder's rungs, measured in turn.

    peluche study history
    python benchmarks/ladder.py studies/history

Trials of a study run one after another, for hours, so a busy moment falls on one of them alone.
Here every rung has a process of its own, and they take turns: the first steps of its training, then
sentences of its test set as the study translates them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from peluche.studies.history import chosen
from side_by_side import compete


def rung(name: str, options: Mapping[str, Any]) -> Callable[[], Mapping[str, float]]:
    import tempfile

    import peluche
    from peluche.hub.run import RunDirectory
    from peluche.recipes.recipe import load_recipe
    from peluche.recipes.train import train_recipe
    from peluche.reporting.examples import load_examples
    from peluche.reporting.run_summary import summarise

    trained = options["study"] / "runs" / f"{name}-seed0"
    steps = options["steps"]
    length = [f"training.steps={steps}", f"training.evaluate_every={steps}"]
    recipe = load_recipe(str(trained / "config.yaml"), ["training.epochs=null", *length])
    translator = peluche.load(str(trained))
    examples = load_examples(RunDirectory.open(trained))[: options["sentences"]]
    sources = [example["source"] for example in examples]

    def run() -> Mapping[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            run, _ = train_recipe(recipe, Path(folder) / "run")
            summary = summarise(run)
        started = time.perf_counter()
        translator.translate(sources)
        seconds = time.perf_counter() - started
        return {
            "tokens_per_second": summary.tokens / summary.seconds,
            "sentences_per_second": len(sources) / seconds,
        }

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("study", type=Path, help="folder of a finished `peluche study history`")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--sentences", type=int, default=200)
    options = parser.parse_args()
    contestants = {one.name: partial(rung, one.name) for one in chosen(None)}
    found = compete(contestants, vars(options), options.rounds)
    for name, rounds in found.items():
        figures = {key: rounds.median(key) for key in rounds.figures}
        ranges = {f"{key}_range": [min(v), max(v)] for key, v in rounds.figures.items()}
        print(json.dumps({"rung": name, **figures, **ranges}))


if __name__ == "__main__":
    main()
