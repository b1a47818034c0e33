"""The dial: what a budget becomes, counted by hand."""

import math

import pytest

from peluche.errors import ConfigError
from peluche.recipes import dial
from peluche.recipes.dial import Budget, Planner, turn
from peluche.recipes.recipe import load_recipe
from peluche.recipes.scaling_law import REPETITIONS, ScalingLaw, effective_tokens
from peluche.recipes.sizing import Shape
from peluche.recipes.train import train_recipe

LAW = {"irreducible": 1.0, "a": 50.0, "alpha": 0.3, "b": 40.0, "beta": 0.3}
LAW |= {"runs": 9, "vocabulary": 260}


@pytest.fixture
def recipe(tmp_path):
    text = "".join(f"the {word} purrs at the number {n}.\n" for n in range(900) for word in "abc")
    (tmp_path / "a.txt").write_text(text)
    path = tmp_path / "a.txt"
    parts = [
        f"data.train={{kind: document, path: {path}, part: [0, 0.9]}}",
        f"data.validation={{kind: document, path: {path}, part: [0.9, 1]}}",
        "tokenizer={kind: byte}",
        "batching.length=16",
        "evaluation.sample=null",
        "training.threads=1",
    ]
    return load_recipe("gpt", parts), len(text), path


@pytest.mark.parametrize(
    ("text", "seconds", "flops"),
    [
        ("90s", 90, None),
        ("10min", 600, None),
        ("1.5h", 5400, None),
        (" 2 mins", 120, None),
        ("1e15flop", None, 1e15),
        ("3E12 FLOPs", None, 3e12),
    ],
)
def test_budgets(text, seconds, flops):
    found = Budget.parse(text)
    assert (found.seconds, found.flops) == (seconds, flops)


@pytest.mark.parametrize("text", ["", "10", "ten min", "-3s", "0min", "1e999h", "1.2.3s", "5 eggs"])
def test_what_is_no_budget(text):
    with pytest.raises(ConfigError, match="is not a budget"):
        Budget.parse(text)


def test_repeated_tokens_are_worth_less():
    assert effective_tokens(70, 100) == 70
    assert effective_tokens(100, 100) == 100
    once_more = effective_tokens(200, 100)
    assert once_more == pytest.approx(100 + 100 * REPETITIONS * (1 - math.exp(-1 / REPETITIONS)))
    assert effective_tokens(1e9, 100) == pytest.approx(100 * (1 + REPETITIONS))


def test_the_law_is_its_formula():
    law = ScalingLaw(**LAW, fitted_on="a.txt")
    assert law.loss(1e4, 1e6, 1e9) == pytest.approx(1 + 50 / 1e4**0.3 + 40 / 1e6**0.3)


def test_work_is_spent_at_twenty_tokens_for_each_parameter(recipe):
    planner = Planner(recipe[0], print)
    assert planner.corpus.vocabulary == 260
    assert planner.corpus.training == pytest.approx(0.9 * recipe[1] + 2, abs=2)
    for flops in (1e11, 1e12):
        best = planner._best(flops)

        def ratio(shape, flops=flops):
            parameters, each = planner.counts(shape)
            tokens = effective_tokens(flops / each, planner.corpus.training)
            return abs(math.log(tokens / parameters / 20))

        near = [Shape(1, 32), Shape(2, 48), Shape(2, 64), Shape(2, 80), Shape(3, 96)]
        assert ratio(best) == min(map(ratio, [best, *near]))


def test_the_plan_is_trained_and_the_loss_compared(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(dial, "step_seconds", lambda *_: (0.01, 0.1))
    settings, _, path = recipe
    rules = settings.dial.model_copy(update={"law": ScalingLaw(**LAW, fitted_on=str(path))})
    said = []
    settings = settings.model_copy(update={"dial": rules})
    planned = turn(settings, "2e9flop", 1, [], 0.0, True, said.append)
    plan = planned.plan
    assert (planned.model.layers, planned.model.d_model, planned.model.heads) == (1, 32, 1)
    assert plan.flops == pytest.approx(2e9, rel=0.1)
    assert plan.tokens == planned.training.steps * planned.batching.rows * 16
    assert plan.predicted == pytest.approx(
        ScalingLaw(**LAW, fitted_on="").loss(plan.parameters, plan.tokens, plan.unique)
    )
    assert f"predicted validation loss: {plan.predicted:.3f}" in said[0]
    run, reason = train_recipe(planned, tmp_path / "run", say=said.append)
    assert reason == "finished"
    events = list(run.events())
    (forecast,) = [event for event in events if event["event"] == "forecast"]
    last = [event for event in events if event["event"] == "evaluate"][-1]
    assert forecast["reached"] == last["nll"]
    assert forecast["error"] == pytest.approx(plan.predicted / last["nll"] - 1)
    work = [event for event in events if event["event"] == "efficiency"]
    assert sum(event["flops"] for event in work) == pytest.approx(plan.flops, rel=0.05)
    assert all(0 < event["mfu"] < 1 and event["peak_bytes"] > 1e6 for event in work)


def test_time_is_divided_among_steps_and_evaluations(recipe, monkeypatch):
    monkeypatch.setattr(dial, "step_seconds", lambda *_: (0.5, 2.0))
    monkeypatch.setattr(dial.time, "monotonic", lambda: 103.0)
    planner = Planner(recipe[0], print)
    planned = planner.plan(Budget.parse("200s"), 2, started=100.0)
    # 3 s are over; a tenth of 200 s is for 10 evaluations of 2 s, and one more is the test.
    assert planned.training.steps == (200 - 3 - 11 * 2) / 0.5
    assert planned.training.evaluate_every == 35
    assert planned.plan.seconds == 0.5 * 350
    unscored = planner.plan(Budget.parse("200s"), 2, started=100.0, scored=False)
    assert unscored.training.steps == 354


def test_text_is_not_read_for_ever(recipe, monkeypatch):
    monkeypatch.setattr(dial, "step_seconds", lambda *_: (0.001, 0.001))
    said = []
    planned = turn(recipe[0], "1e16flop", 1, [], 0.0, True, said.append)
    assert planned.plan.epochs == pytest.approx(40, rel=0.1)
    assert "the budget is not used up" in said[0]
    assert "no loss is predicted" in said[0]


def test_a_budget_over_what_the_text_is_good_for_is_no_larger_a_batch(recipe, monkeypatch):
    monkeypatch.setattr(dial, "step_seconds", lambda *_: (0.001, 0.001))
    plans = [
        turn(recipe[0], budget, 1, [], 0.0, True, print) for budget in ("1e16flop", "1e30flop")
    ]
    assert plans[0].batching == plans[1].batching
    assert plans[0].optimizer == plans[1].optimizer


def test_a_model_over_the_memory_is_refused_before_it_is_built(recipe):
    with pytest.raises(ConfigError, match=r"or more, which takes [\d,]+ GB to train"):
        turn(recipe[0], None, 300, [], 0.0, True, print)


def test_depth_alone_calls_for_twenty_tokens_for_each_parameter(recipe, monkeypatch):
    monkeypatch.setattr(dial, "step_seconds", lambda *_: (0.001, 0.001))
    planned = turn(recipe[0], None, 1, [], 0.0, True, print)
    assert planned.plan.tokens / planned.plan.parameters == pytest.approx(20, rel=0.05)
    assert planned.plan.budget == "1 layers"


def test_what_the_dial_chooses_cannot_be_set_too(recipe):
    with pytest.raises(ConfigError, match=r"choose model.layers themselves"):
        turn(recipe[0], "1min", None, ["model.layers=3"], 0.0, True, print)


def test_a_recipe_without_rules():
    with pytest.raises(ConfigError, match="'quickstart' cannot be sized by a budget"):
        turn(load_recipe("quickstart"), "1min", None, [], 0.0, True, print)
