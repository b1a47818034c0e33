"""`peluche study compare` and the comparisons that come with peluche."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

Json = Annotated[bool, Option("--json", help="Print the numbers as one JSON object.")]
RunChanges = Annotated[
    list[str] | None, Argument(help="Changes of every run's recipe, such as training.steps=100.")
]
Ray = Annotated[
    bool, Option("--ray", help="Spread runs over processors, or the cluster of RAY_ADDRESS.")
]
Output = Annotated[Path | None, Option("--output", "-o", help="Folder; studies/NAME if not given.")]
Seeds = Annotated[int | None, Option(min=1, help="Runs of each variant.")]
COMPARISONS = {
    "attention": "Heads with keys and values of their own, in groups, or all alike.",
    "experts": "A dense feed-forward layer and a mixture of experts of equal operations.",
    "mixers": "Attention and a state space, which takes linear time.",
    "optimizers": "AdamW and Muon, each with the best of some learning rates.",
    "shakespeare": "nanoGPT's sizes and a free choice, in the same time.",
}


@contextmanager
def runner(ray: bool) -> Iterator[Any]:
    """What runs trials; stopped by a signal it says how to go on, and leaves with its code."""
    from peluche.cli.terminal import say
    from peluche.studies.spread import by_ray
    from peluche.studies.trial import Stopped, one_by_one

    try:
        yield by_ray if ray else one_by_one
    except Stopped as stop:
        say("stopped; finished runs are kept. The same command goes on from here.")
        raise typer.Exit(stop.code) from None


def compare(
    file: Annotated[Path, Argument(help="Variants of a recipe, as YAML.")],
    changes: RunChanges = None,
    output: Output = None,
    seeds: Seeds = None,
    ray: Ray = False,
    as_json: Json = False,
) -> None:
    """Variants of a recipe, as a file describes them. Goes on where it stopped."""
    from peluche.cli.terminal import say
    from peluche.studies.compare import run_comparison
    from peluche.studies.comparison import load_comparison
    from peluche.studies.comparison_page import comparison_table, markdown, write_comparison

    config = load_comparison(file)
    if seeds is not None:
        config = config.model_copy(update={"seeds": seeds})
    output = output or Path("studies") / file.stem
    with runner(ray) as run:
        results = run_comparison(output, config, changes or [], say, run)
    page = write_comparison(output, config, results)
    if as_json:
        print((output / "study.json").read_text(encoding="utf-8"))
    else:
        print(markdown(comparison_table(config, results)), page, sep="\n\n")


def comparison(name: str) -> Callable[..., None]:
    """The verb of a comparison that comes with peluche."""

    def verb(
        changes: RunChanges = None,
        output: Output = None,
        seeds: Seeds = None,
        ray: Ray = False,
        as_json: Json = False,
    ) -> None:
        from peluche.studies.comparison import shipped

        compare(shipped()[name], changes, output, seeds, ray, as_json)

    return verb
