"""`peluche study compare` and the comparisons that come with peluche."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from typer import Argument

from peluche.cli import studying

COMPARISONS = {
    "attention": "Heads with keys and values of their own, in groups, or all alike.",
    "experts": "A dense feed-forward layer and a mixture of experts of equal operations.",
    "mixers": "Attention and a state space, which takes linear time.",
    "optimizers": "AdamW and Muon, each with the best of some learning rates.",
    "shakespeare": "nanoGPT's sizes and a free choice, in the same time.",
}


def compare(
    file: Annotated[Path, Argument(help="Variants of a recipe, as YAML.")],
    changes: studying.RunChanges = None,
    output: studying.Output = None,
    seeds: studying.Seeds = None,
    ray: studying.Ray = False,
    as_json: studying.Json = False,
) -> None:
    """Variants of a recipe, as a file describes them. Goes on where it stopped."""
    from peluche.cli.terminal import say
    from peluche.studies.compare import check_scored, run_comparison
    from peluche.studies.comparison import load_comparison
    from peluche.studies.comparison_page import comparison_table, markdown, write_comparison

    config = load_comparison(file)
    if seeds is not None:
        config = config.model_copy(update={"seeds": seeds})
    output = output or Path("studies") / file.stem
    studying.check_folder(output)
    with studying.runner(ray) as run:
        results = run_comparison(output, config, changes or [], say, run)
    page = write_comparison(output, config, results)
    if as_json:
        print((output / "study.json").read_text(encoding="utf-8"))
    else:
        print(markdown(comparison_table(config, results)), page, sep="\n\n")
    check_scored(results)


def comparison(name: str) -> Callable[..., None]:
    """The verb of a comparison that comes with peluche."""

    def verb(
        changes: studying.RunChanges = None,
        output: studying.Output = None,
        seeds: studying.Seeds = None,
        ray: studying.Ray = False,
        as_json: studying.Json = False,
    ) -> None:
        from peluche.studies.comparison import shipped

        compare(shipped()[name], changes, output, seeds, ray, as_json)

    return verb
