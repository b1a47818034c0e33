"""The history study: every trial once, whatever is killed; pooled scores; one page."""

import json
import math
import signal
import subprocess
import sys
import time

import pytest
import yaml
from sacrebleu.metrics import BLEU

from peluche.errors import ConfigError, NumericsError
from peluche.hub.run import RunDirectory
from peluche.recipes.base import silent
from peluche.recipes.recipe import load_recipe
from peluche.recipes.train import train_recipe
from peluche.reporting.examples import load_examples
from peluche.studies import history
from peluche.studies.history import (
    bucket,
    bucket_names,
    chosen,
    ladder,
    recipe_of,
    run_history,
)
from peluche.studies.history_page import write_history
from peluche.studies.runs import read_finished
from peluche.studies.trial import main, result, run_trial

DATA = {
    "train": {"kind": "builtin", "split": "train", "size": 60},
    "validation": {"kind": "builtin", "split": "validation", "size": 4},
    "test": {"kind": "builtin", "split": "test", "size": 8},
}
TINY = [
    f"data={json.dumps(DATA)}",
    "tokenizer.vocab_size=120",
    "training.epochs=null",
    "training.steps=2",
    "training.evaluate_every=1",
    "training.threads=1",
    "decoding.max_length=64",
    "decoding.beams=2",
]
SIZES = {"recurrent": ["model.embedding=8", "model.hidden=8"], "transformer": ["model.d_model=8"]}


def small(rung):
    recurrent = any("recurrent_seq2seq" in change for change in rung.changes)
    sizes = SIZES["recurrent" if recurrent else "transformer"]
    return rung.model_copy(update={"changes": (*rung.changes, *sizes)})


def here(jobs, say):
    for job in jobs:
        assert run_trial(load_recipe(str(job.recipe)), job.run, say) is None


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("history")
    rungs = [small(rung) for rung in chosen(["lstm", "attention", "transformer"])]
    return folder, rungs, run_history(folder, rungs, TINY, seeds=2, run=here)


def test_rungs_rise_and_have_fewer_parameters_than_those_published():
    rungs = ladder()
    assert [rung.name for rung in rungs] == ["lstm", "gru", "attention", "transformer"]
    assert rungs == sorted(rungs, key=lambda rung: rung.published.bleu)
    for rung in rungs:
        recipe = recipe_of(rung, [], 5)
        assert (recipe.name, recipe.training.seed) == (f"{rung.name}-seed5", 5)
        model = recipe.model.build(recipe.tokenizer.vocab_size)
        assert sum(p.numel() for p in model.parameters()) < rung.published.parameters


def test_rungs_by_name():
    assert [rung.name for rung in chosen(["transformer", "lstm"])] == ["lstm", "transformer"]
    assert chosen(None) == ladder()
    with pytest.raises(ConfigError, match="did you mean 'transformer'"):
        chosen(["transfomer"])


def test_buckets_hold_their_edges():
    words = [1, 8, 9, 11, 12, 14, 15, 18, 19, 40]
    assert bucket(["w " * count for count in words]).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert bucket_names() == ["1–8", "9–11", "12–14", "15–18", "19+"]


def test_bleu_is_that_of_all_seeds_together(finished):
    _, _, results = finished
    for found in results:
        runs = [load_examples(RunDirectory.open(trial.path)) for trial in found.trials]
        outputs = [one["output"] for run in runs for one in run]
        references = [one["reference"] for run in runs for one in run]
        expected = BLEU(tokenize="none", force=True).corpus_score(outputs, [references]).score
        assert found.bleu.score == pytest.approx(expected, abs=1e-9)
        low, high = found.bleu.ci
        assert low <= found.bleu.score <= high
    assert results[0].against is None
    assert results[1].against.baseline == "lstm"


def test_what_a_trial_measures(finished):
    _, _, results = finished
    for found in results:
        for seed, trial in enumerate(found.trials):
            assert (trial.seed, trial.path.name) == (seed, f"{found.rung.name}-seed{seed}")
            assert math.isfinite(trial.perplexity)
            assert [step for step, _ in trial.perplexities] == [1, 2]
            assert trial.peak_bytes > 50e6
            assert trial.tokens_per_second > 0


def test_finished_trials_are_not_run_again(finished):
    folder, rungs, results = finished

    def run(jobs, say):
        assert not jobs

    assert run_history(folder, rungs, TINY, seeds=2, run=run) == results


def test_other_settings_are_refused_before_anything_runs(finished):
    folder, rungs, _ = finished
    with pytest.raises(ConfigError, match="other settings"):
        run_history(folder, rungs, [*TINY, "optimizer.lr=0.1"], seeds=1, run=here)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ("evaluation.metrics=[chrf]", "leave bleu among evaluation.metrics"),
        ("training.seed=3", r"itself sets training\.seed"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_anything_runs(finished, tmp_path, change, match):
    _, rungs, _ = finished
    with pytest.raises(ConfigError, match=match):
        run_history(tmp_path, rungs, [*TINY, change], seeds=1, run=here)
    assert not list(tmp_path.iterdir())


def test_the_page_holds_all(finished):
    folder, _, results = finished
    page = write_history(folder, results).read_text(encoding="utf-8")
    numbers = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    assert [rung["bleu"]["score"] for rung in numbers["rungs"]] == [
        found.bleu.score for found in results
    ]
    assert "attention-seed1" in page
    assert "published" not in page  # it is another corpus
    pictures = {path.stem for path in (folder / "pictures").iterdir()}
    assert pictures == {
        "bleu",
        "bleu-by-length",
        "perplexity",
        "attention-attention",
        "attention-transformer",
    }


def test_published_figures_stand_beside_the_same_task_only(finished):
    _, _, results = finished
    from peluche.studies.history_page import _same_task, _summary

    assert "published" in _summary(results, True).head
    base = load_recipe(str(history.BASE)).model_dump(mode="json")
    assert _same_task(base)
    assert not _same_task({**base, "training": {**base["training"], "epochs": 9.0}})


def test_a_trial_that_was_only_begun_begins_again(tmp_path):
    recipe = recipe_of(small(ladder()[0]), TINY, 0)
    RunDirectory.create(tmp_path / "run", recipe.model_dump(mode="json"))
    assert run_trial(recipe, tmp_path / "run", silent) is None
    assert result(tmp_path / "run") is not None


def test_a_trial_that_was_trained_but_not_scored_is_scored(tmp_path):
    recipe = recipe_of(small(ladder()[0]), TINY, 0)
    run, _ = train_recipe(recipe, tmp_path / "run")
    weights = run.load_weights()
    assert run_trial(recipe, tmp_path / "run", silent) is None
    again = RunDirectory.open(tmp_path / "run").load_weights()
    assert all((again[name] == weights[name]).all() for name in weights)


def test_a_trial_that_diverged_has_no_score(tmp_path):
    recipe = recipe_of(small(ladder()[-1]), [*TINY, "optimizer.lr=1e30"], 0)
    said, again = [], []
    assert run_trial(recipe, tmp_path / "run", said.append) is None
    assert said[-1].startswith("run diverged: the loss is not a finite number")
    with pytest.raises(NumericsError, match="this trial diverged: the loss is not") as error:
        read_finished(tmp_path / "run")
    assert error.value.where == str(tmp_path / "run")
    assert run_trial(recipe, tmp_path / "run", again.append) is None
    assert not again


def test_what_cannot_be_read_has_an_exit_code(tmp_path, capsys):
    assert main(str(tmp_path / "none.yaml"), str(tmp_path / "run")) == 2
    assert "there is no recipe file" in capsys.readouterr().err


@pytest.mark.slow
def test_a_stopped_study_goes_on(tmp_path):
    recipe = recipe_of(small(ladder()[0]), [*TINY, "training.steps=100000"], 0)
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe.model_dump(mode="json")), encoding="utf-8")
    code = (
        "import sys; from pathlib import Path; from peluche.studies.trial import *\n"
        "try: one_by_one([Job(*map(Path, sys.argv[1:]))], print)\n"
        "except Stopped as stop: sys.exit(stop.code)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(file), str(tmp_path / "run")])
    log = tmp_path / "run" / "log.jsonl"
    until = time.monotonic() + 60
    while not (log.exists() and '"evaluate"' in log.read_text()) and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    run = RunDirectory.open(tmp_path / "run")
    assert result(run.path) is None
    assert run.latest_state(silent).step > 0
