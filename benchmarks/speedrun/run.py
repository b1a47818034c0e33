"""The two-core speedrun: best BLEU on Multi30k English-French after 30 minutes, all counted.

    python benchmarks/speedrun/run.py benchmarks/speedrun/1-published-recipe.yaml --seed 0
    python benchmarks/speedrun/run.py benchmarks/speedrun/1-published-recipe.yaml --seed 0 --test
    python benchmarks/speedrun/run.py --board

Rules: Multi30k's training split only; choices are made on validation; test_2016 is scored once per
entry and seed, with --test; the clock runs from the start of this program until the weights are
saved: reading, tokenizer, compiling, training, validation. Scores are greedy or beam BLEU of the
`tok` files without further tokenisation.
"""

from __future__ import annotations

import time

STARTED = time.perf_counter()

import argparse  # noqa: E402
import json  # noqa: E402
import statistics  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import yaml  # noqa: E402

RESULTS = Path(__file__).with_name("results.jsonl")
LIMIT_SECONDS = 30 * 60


def run_entry(path: Path, seed: int, runs: Path, test: bool, changes: list[str]) -> None:
    """Train an entry, score it on validation and, if asked, once on the test set."""
    from peluche.cli.terminal import say
    from peluche.data.sources import CatalogueSource
    from peluche.metrics import score
    from peluche.nn.machine import describe_machine
    from peluche.recipes.recipe import load_recipe
    from peluche.recipes.train import train_recipe
    from peluche.tasks.load import load_translator
    from peluche.training.progress import Progress

    entry = yaml.safe_load(path.read_text(encoding="utf-8"))
    settings = [*entry["changes"], f"training.seed={seed}", *changes]
    recipe = load_recipe(entry["recipe"], settings)
    folder = runs / f"{entry['name']}-{seed}"
    run, _ = train_recipe(recipe, folder, hooks=[Progress()], say=say)
    seconds = time.perf_counter() - STARTED
    translator = load_translator(str(folder))
    result: dict[str, Any] = {
        "entry": path.stem,
        "seed": seed,
        "seconds": round(seconds, 1),
        "machine": describe_machine(),
    }
    if changes:
        result["changes"] = changes
    source = recipe.data.validation
    assert isinstance(source, CatalogueSource)
    for split in ["validation", *(["test"] if test else [])]:
        pairs = list(source.model_copy(update={"split": split}).read())
        for name, beams in (("greedy", 1), ("beam", recipe.decoding.beams)):
            hypotheses = translator.translate([pair.source for pair in pairs], beams=beams)
            found = score(
                ["bleu"], hypotheses, [pair.target for pair in pairs], tokenize="none", force=True
            )[0]
            result[f"{split}_{name}"] = round(found.score, 2)
            result["signature"] = found.signature
    run.log({"event": "speedrun", **result})
    with RESULTS.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(result) + "\n")
    print(json.dumps(result))
    if seconds > LIMIT_SECONDS:
        print(f"over the limit: {seconds:.0f} s; this does not count")


def board() -> None:
    """The table of docs/speedrun.md: medians over seeds of the results that kept to the time."""
    results = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    print("| entry | improvement | seeds | minutes | val beam | test greedy | test beam |")
    print("|---|---|---|---|---|---|---|")
    for path in sorted(Path(__file__).parent.glob("*.yaml")):
        mine = [
            result
            for result in results
            if result["entry"] == path.stem
            and result["seconds"] <= LIMIT_SECONDS
            and "changes" not in result
        ]
        if not mine:
            continue
        entry = yaml.safe_load(path.read_text(encoding="utf-8"))

        def median(key: str, mine: list[dict[str, Any]] = mine) -> str:
            values = [result[key] for result in mine if key in result]
            return f"{statistics.median(values):.2f}" if values else "-"

        minutes = statistics.median(result["seconds"] for result in mine) / 60
        print(
            f"| {path.stem} | {entry['improvement']} | {len(mine)} | {minutes:.1f} | "
            f"{median('validation_beam')} | {median('test_greedy')} | {median('test_beam')} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("entry", type=Path, nargs="?")
    parser.add_argument("changes", nargs="*", help="for trials: such results are not on the board")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/speedrun"))
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--board", action="store_true")
    options = parser.parse_args()
    if options.board:
        board()
    elif options.entry is None:
        parser.error("name an entry, or --board")
    else:
        run_entry(options.entry, options.seed, options.runs, options.test, options.changes)


if __name__ == "__main__":
    main()
