"""Comparisons: rates are chosen on the first seed, differences are what the numbers say."""

import json
import re
import shutil

import numpy as np
import pytest
import yaml
from scipy import stats

from peluche.errors import CheckpointError, ConfigError, DataError, NumericsError
from peluche.hub.run import RunDirectory
from peluche.recipes.language import LanguageRecipe
from peluche.recipes.recipe import load_recipe
from peluche.studies import trial as trials
from peluche.studies.checks import check_comparison
from peluche.studies.compare import Diverged, best, check_scored, run_comparison
from peluche.studies.comparison import (
    ComparisonConfig,
    load_comparison,
    recipe_of,
    shipped,
)
from peluche.studies.comparison_page import comparison_table, markdown, write_comparison
from peluche.studies.costs import forward_flops, memory
from peluche.studies.trial import Job, one_by_one, run_trial
from peluche.tasks.load import load_completer

VERSE = "the cat sat on the mat\nand purred\n"
TINY = [
    "model={d_model: 8, layers: 1, heads: 2, d_ff: 8, dropout: 0.0}",
    "training={steps: 3, evaluate_every: 1, threads: 1}",
    "batching={length: 16, tokens: 64}",
    "evaluation.sample=null",
    "schedule.warmup=1",
]
STUDY = {
    "title": "Small",
    "recipe": "shakespeare",
    "changes": TINY,
    "variants": [
        {"name": "many", "title": "many", "rates": [0.001, 0.05]},
        {"name": "one", "title": "one", "changes": ["model.kv_heads=1"]},
    ],
    "seeds": 2,
    "columns": ["parameters", "flops", "memory", "writing", "reading"],
    "writing": {"rows": 2, "context": 4, "tokens": 2, "rounds": 1},
}


def here(jobs, say):
    for job in jobs:
        assert run_trial(load_recipe(str(job.recipe)), job.run, say) is None


def none(jobs, say):
    assert not jobs


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The study's values, with a text to read."""
    verse = tmp_path_factory.mktemp("verse") / "verse.txt"
    verse.write_text(VERSE * 20, encoding="utf-8")
    source = {"kind": "document", "path": str(verse)}
    data = {"train": source, "validation": {**source, "part": [0.5, 1.0]}}
    return {**STUDY, "changes": [*TINY, f"data={json.dumps(data)}"]}


@pytest.fixture(scope="module")
def finished(study, tmp_path_factory):
    folder, config = tmp_path_factory.mktemp("comparison"), ComparisonConfig.parse(study)
    return folder, config, run_comparison(folder, config, run=here)


def test_the_best_rate_of_the_first_seed_is_used_for_the_others(finished):
    folder, _, (many, one) = finished
    assert [trial.path.name for trial in many.sweep] == [
        "many-rate0.001-seed0",
        "many-rate0.05-seed0",
    ]
    kept = min(many.sweep, key=lambda trial: trial.score)
    assert many.trials[0] is kept
    assert many.at_the_edge
    assert [(trial.seed, trial.rate) for trial in many.trials] == [(0, kept.rate), (1, kept.rate)]
    assert [trial.path.name for trial in one.trials] == ["one-seed0", "one-seed1"]
    assert not one.at_the_edge
    assert len(list((folder / "runs").glob("many-*-seed1"))) == 1


def test_scores_are_those_of_the_trained_models(finished):
    _, _, results = finished
    for result in results:
        for trial in result.trials:
            scores = {
                one.metric: one.score for one in load_completer(trial.path).evaluate().scores()
            }
            assert trial.score == pytest.approx(scores["nll"], abs=1e-9)
            assert np.exp(trial.score) == pytest.approx(scores["perplexity"], rel=1e-9)
            # The last evaluation of the run saw the same model and text.
            assert trial.evaluations[-1] == (3, pytest.approx(trial.score, abs=1e-4))


def test_differences_are_paired_by_seed_and_by_text(finished):
    _, _, (many, one) = finished
    scores = [[trial.score for trial in found.trials] for found in (many, one)]
    assert one.score == pytest.approx(np.mean(scores[1]))
    difference, (low, high) = one.over_seeds
    expected = stats.ttest_rel(scores[1], scores[0]).confidence_interval()
    assert difference == pytest.approx(np.mean(scores[1]) - np.mean(scores[0]))
    assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-4)
    assert one.over_text.difference == pytest.approx(difference, abs=1e-9)
    assert one.over_text.ci[0] <= difference <= one.over_text.ci[1]
    assert (many.over_seeds, many.over_text) == (None, None)


def test_texts_in_other_rows_are_not_paired(finished):
    folder, config, _ = finished
    single = config.variants[1].model_copy(
        update={"name": "long", "changes": ("batching.length=32",)}
    )
    other = config.model_copy(
        update={"variants": (config.variants[1], single), "columns": (), "seeds": 1}
    )
    first, found = run_comparison(folder, other, run=here)
    assert found.over_text is None
    assert found.over_seeds[0] == pytest.approx(found.score - first.score)


def test_costs_are_those_of_the_variants(finished):
    _, _, (many, one) = finished
    for found, heads in ((many, 2), (one, 1)):
        model = load_completer(found.trials[0].path).model
        assert found.costs.memory == memory(model)
        assert found.costs.memory.per_token == 2 * heads * 4 * 4
        assert found.costs.flops == forward_flops(model, 16)
        assert found.trials[0].parameters == sum(p.numel() for p in model.parameters())
        assert found.costs.writing.tokens_per_second > 0
    assert many.costs.writing.ratio == 1.0


def test_finished_trials_are_kept_and_other_settings_refused(finished):
    folder, config, results = finished
    again = run_comparison(folder, config, run=none)
    assert [found.score for found in again] == [found.score for found in results]
    with pytest.raises(ConfigError, match="other settings"):
        run_comparison(folder, config, ["model.d_ff=9"], run=none)


def test_more_seeds_go_on(finished):
    folder, config, _ = finished
    asked = []
    with pytest.raises(ConfigError, match="not finished"):
        run_comparison(
            folder, config.model_copy(update={"seeds": 3}), run=lambda jobs, say: asked.extend(jobs)
        )
    assert [job.run.name for job in asked] == ["many-rate0.05-seed2", "one-seed2"]


def test_the_page_holds_all(finished):
    folder, config, results = finished
    page = write_comparison(folder, config, results).read_text(encoding="utf-8")
    assert "The best of many is at the edge" in page
    numbers = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    assert [one["score"] for one in numbers["variants"]] == [found.score for found in results]
    assert len(numbers["variants"][0]["sweep"]) == 2
    assert numbers["variants"][1]["costs"]["memory"] == {"per_token": 32, "fixed": 0}
    pictures = {path.stem for path in (folder / "pictures").iterdir()}
    assert pictures == {"scores", "learning", "rates"}
    table = markdown(comparison_table(config, results)).splitlines()
    assert len(table) == 4
    assert {line.count("|") for line in table} == {12}
    assert table[3].startswith(f"| one | {results[1].score:.4f} |")


def test_one_seed_has_no_intervals(finished):
    folder, config, _ = finished
    config = config.model_copy(update={"seeds": 1, "columns": ("parameters",)})
    results = run_comparison(folder, config, run=none)
    assert results[0].interval is None
    assert results[1].over_seeds[1] is None
    assert results[1].over_text is not None
    assert comparison_table(config, results).rows[1][2] == ""


@pytest.fixture(scope="module")
def diverging(study, tmp_path_factory):
    """A variant of which one rate diverges, and two of which all do: in training, at its end."""
    folder = tmp_path_factory.mktemp("diverging")
    variants = [
        {"name": "some", "title": "some", "rates": [1e6, 0.001]},
        {"name": "all", "title": "all", "rates": [1e6, 2e6]},
        {"name": "end", "title": "end", "changes": ["optimizer.lr=1e20", "training.steps=1"]},
    ]
    config = ComparisonConfig.parse({**study, "variants": variants, "columns": ["flops"]})
    return folder, config, run_comparison(folder, config, run=here)


def test_a_rate_that_diverges_is_not_chosen(diverging):
    folder, _, (some, all_, end) = diverging
    assert [type(trial) is Diverged for trial in some.sweep] == [True, False]
    assert [trial.rate for trial in some.trials] == [0.001, 0.001]
    assert some.score == np.mean([trial.score for trial in some.trials])
    assert trials.result(folder / "runs" / "some-rate1e+06-seed0")["diverged"].startswith(
        "the loss is"
    )
    for lost in (all_, end):
        assert (lost.score, lost.interval, lost.trials) == (None, None, ())
        assert (lost.over_seeds, lost.over_text, lost.costs.flops) == (None, None, None)
    # A trial can end before anyone notices.
    assert "diverged" not in trials.result(folder / "runs" / "end-seed0")
    assert sorted(path.name for path in (folder / "runs").iterdir()) == [
        "all-rate1e+06-seed0",
        "all-rate2e+06-seed0",
        "end-seed0",
        "some-rate0.001-seed0",
        "some-rate0.001-seed1",
        "some-rate1e+06-seed0",
    ]


def test_what_diverged_is_shown_and_said(diverging):
    folder, config, results = diverging
    table = comparison_table(config, results)
    assert [row[1] for row in table.rows] == [f"{results[0].score:.4f}", "diverged", "diverged"]
    assert set(table.rows[1][2:]) == {""}
    page = write_comparison(folder, config, results).read_text(encoding="utf-8")
    assert '<th scope="row">some-rate1e+06-seed0</th><td class="number">diverged</td>' in page
    assert '<th scope="row">all</th><td class="number"></td>' in page
    numbers = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    assert [one["score"] for one in numbers["variants"][0]["sweep"]] == [
        None,
        results[0].trials[0].score,
    ]
    with pytest.raises(NumericsError, match="all, end without a score") as said:
        check_scored(results)
    assert said.value.what.endswith("all-rate1e+06-seed0, all-rate2e+06-seed0, end-seed0")
    check_scored(results[:1])


def test_what_diverged_is_not_run_again(diverging):
    folder, config, results = diverging
    again = run_comparison(folder, config, run=none)
    assert [found.score for found in again] == [found.score for found in results]


def test_nothing_compares_with_a_first_variant_that_diverged(diverging):
    folder, config, _ = diverging
    turned = config.model_copy(update={"variants": config.variants[1::-1]})
    lost, some = run_comparison(folder, turned, run=none)
    assert lost.score is None
    assert (some.over_seeds, some.over_text) == (None, None)
    only = config.model_copy(update={"variants": config.variants[1:]})
    results = run_comparison(folder, only, run=none)
    page = write_comparison(folder / "only", only, results)
    assert [path.stem for path in (page.parent / "pictures").glob("*.svg")] == ["scores"]


def test_a_variant_of_which_a_seed_diverged_has_no_score(finished, tmp_path):
    _, config, _ = finished
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    seed = RunDirectory.open(tmp_path / "runs" / "one-seed1")
    seed.log({"event": "trial", "diverged": "the loss is not a number"})
    many, one = run_comparison(tmp_path, config, run=none)
    assert many.score == finished[2][0].score
    assert [trial.score for trial in one.trials] == [finished[2][1].trials[0].score, None]
    assert (one.score, one.interval, one.over_seeds, one.over_text) == (None,) * 4
    with pytest.raises(NumericsError, match="diverged: one-seed1"):
        check_scored([many, one])
    page = write_comparison(tmp_path, config, [many, one]).read_text(encoding="utf-8")
    assert '<th scope="row">one-seed1</th><td class="number">diverged</td>' in page


@pytest.mark.slow
def test_only_divergence_ends_well(study, tmp_path):
    """In processes of their own: other failures end the study."""
    values = load_recipe("shakespeare", study["changes"]).model_dump(mode="json")
    values["optimizer"]["lr"] = 1e6
    file, bad = tmp_path / "recipe.yaml", tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    values["data"]["train"]["path"] = "none.txt"
    bad.write_text(yaml.safe_dump(values), encoding="utf-8")
    one_by_one([Job(file, tmp_path / "run")], print)
    assert "diverged" in trials.result(tmp_path / "run")
    with pytest.raises(CheckpointError, match="exit code 3"):
        one_by_one([Job(bad, tmp_path / "bad"), Job(file, tmp_path / "next")], print)
    assert not (tmp_path / "next").exists()


def test_the_best_is_the_highest_where_more_is_better(finished, monkeypatch):
    _, _, (many, _) = finished
    low, high = sorted(many.sweep, key=lambda trial: trial.score)
    assert best(many.sweep) is low
    monkeypatch.setattr(type(low.measurement.metric), "better", "higher")
    assert best(many.sweep) is high


@pytest.mark.parametrize("name", shipped())
def test_shipped_comparisons_build(name, study):
    config, verse = load_comparison(shipped()[name]), study["changes"][-1]
    recipes = []
    for variant in config.variants:
        for rate in variant.rates or (None,):
            recipes.append(recipe_of(config, variant, ["training.threads=1", verse], 2, rate))
            assert recipes[-1].training.seed == 2
    check_comparison(config, recipes)


def test_dense_and_experts_cost_the_same_but_for_the_router():
    config = load_comparison(shipped()["experts"])
    dense, experts = (recipe_of(config, variant, [], 0).model for variant in config.variants)
    router = 2 * dense.layers * dense.d_model * experts.experts.count
    found = [forward_flops(model.build(66), 64) for model in (dense, experts)]
    assert found[1] - found[0] == router


def test_every_shipped_comparison_is_a_verb():
    from peluche.cli.compare import COMPARISONS

    assert sorted(COMPARISONS) == list(shipped())


def test_what_cannot_be_is_refused(tmp_path):
    twice = {**STUDY, "variants": [STUDY["variants"][0]] * 2}
    with pytest.raises(ConfigError, match="same name"):
        ComparisonConfig.parse(twice)
    with pytest.raises(ConfigError, match=r"'variants\.0\.name' is '\.\./up' now"):
        ComparisonConfig.parse({**STUDY, "variants": [{"name": "../up", "title": "up"}] * 2})
    translation = {**STUDY, "recipe": "quickstart", "changes": []}
    translation["variants"] = [{"name": name, "title": name} for name in "ab"]
    with pytest.raises(ConfigError, match="flops, memory, writing can be measured of language"):
        run_comparison(tmp_path / "out", ComparisonConfig.parse(translation), run=none)
    with pytest.raises(ConfigError, match="there is no comparison file"):
        load_comparison(tmp_path / "none.yaml")
    file = tmp_path / "file.yaml"
    for text, error, match in (
        (b"[1]", ConfigError, "not a list of keys"),
        (b"a: [", ConfigError, "not YAML"),
        (b"\xff\xfe\xfa", DataError, "cannot read"),
        (yaml.safe_dump({**STUDY, "seed": 3}).encode(), ConfigError, "did you mean 'seeds'"),
    ):
        file.write_bytes(text)
        with pytest.raises(error, match=match):
            load_comparison(file)
    assert not (tmp_path / "out").exists()


LEARNED = "model={positions: learned, max_length: 16, d_model: 8, layers: 1, heads: 2, d_ff: 8}"
MUON = "optimizer={kind: muon}"


@pytest.mark.parametrize(
    ("changed", "other", "match"),
    [
        ({"metric": "accuracy"}, {}, r"many-rate0.001-seed0 is not scored by accuracy"),
        ({"columns": ["flops", "flops"]}, {}, "asked for twice"),
        ({}, {"rates": [0]}, r"variants\.1\.rates\.0: .* greater than 0"),
        ({}, {"rates": [float("inf")]}, "finite number"),
        ({}, {"rates": [0.01, 0.010000001]}, "the same in six digits"),
        ({}, {"name": "many-rate0.05"}, "runs of the same name, many-rate0.05"),
        ({}, {"changes": ["training={steps: 3, seed: 1}"]}, r"itself sets training\.seed"),
        ({}, {"changes": ["name=mine"]}, "itself sets name"),
        ({}, {"rates": [0.1], "changes": ["optimizer.lr=0.2"]}, r"itself sets optimizer\.lr"),
        ({}, {"changes": ["model.headz=2"]}, "variant one, .*shakespeare.yaml"),
        ({"metric": "bits_per_byte"}, {"changes": ["data.train.path=none.txt"]}, "none.txt"),
        ({}, {"changes": ["data.validation.part=[0, 0.5]"]}, "scored on different data"),
        ({}, {"changes": ["tokenizer.kind=byte"]}, "other tokens, .* nll does not compare"),
        ({}, {"changes": ["data.train.part=[0, 0.4]"]}, "other tokens"),
        ({}, {"changes": ["optimizer={kind: library, name: torch.optim.Lionn}"]}, "Lionn"),
        ({}, {"changes": [MUON, "model.mup={d_model: 4, head_width: 2}"]}, "model.mup has no rule"),
        ({"writing": {"context": 16}}, {"changes": [LEARNED]}, "one-seed0 reads 16 tokens at most"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_trained(
    study, tmp_path, changed, other, match
):
    many, one = study["variants"]
    values = {**study, **changed, "variants": [many, {**one, **other}]}
    with pytest.raises((ConfigError, DataError)) as refused:
        run_comparison(tmp_path / "out", ComparisonConfig.parse(values), run=none)
    assert re.search(match, str(refused.value)), refused.value
    assert not (tmp_path / "out").exists()


def test_tokens_that_differ_compare_by_byte(study, tmp_path):
    variants = [{**one, "rates": []} for one in study["variants"]]
    variants[1]["changes"] = ["tokenizer.kind=byte"]
    values = {**study, "variants": variants, "metric": "bits_per_byte"}
    asked = []
    with pytest.raises(ConfigError, match="not finished"):
        run_comparison(
            tmp_path, ComparisonConfig.parse(values), run=lambda jobs, _: asked.extend(jobs)
        )
    assert [job.run.name for job in asked] == ["many-seed0", "one-seed0"]


def test_trials_are_of_completed_recipes(study, monkeypatch):
    """A run's config is that of a completed recipe; any other would be refused on going on."""

    def completed(self):
        return self.model_copy(update={"description": "completed"})

    monkeypatch.setattr(LanguageRecipe, "completed", completed)
    config = ComparisonConfig.parse(study)
    assert recipe_of(config, config.variants[1], [], 0).description == "completed"


def test_variants_do_one_task(tmp_path):
    variants = [{"name": "a", "title": "a"}, {"name": "b", "title": "b", "recipe": "quickstart"}]
    values = {**STUDY, "changes": [], "columns": [], "variants": variants}
    with pytest.raises(ConfigError, match="b-seed0 is for translation and a-seed0 for language"):
        run_comparison(tmp_path, ComparisonConfig.parse(values), run=none)
