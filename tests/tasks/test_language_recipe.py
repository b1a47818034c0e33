"""From texts to a language model, through the command line as people use it."""

import json

import pytest
import torch

from peluche.data.texts import TextFile
from peluche.errors import ConfigError, DataError
from peluche.recipes.recipe import load_recipe, parse_recipe
from peluche.recipes.train import resume_run, train_recipe
from peluche.tasks.load import load_completer, load_translator
from peluche.training.events import Hook

VERSE = "the cat sat on the mat\nand purred\n\n"
TINY = [
    "batching.length=16",
    "batching.tokens=128",
    "training.steps=60",
    "training.evaluate_every=30",
    "training.checkpoint_every=20",
    "training.threads=1",
    "evaluation.sample=the",
    "evaluation.tokens=5",
    "schedule.warmup=5",
    "optimizer.lr=0.01",
]
MODELS = {
    "decoder": "model={kind: decoder, d_model: 32, layers: 1, heads: 2, d_ff: 64, dropout: 0.0}",
    "lstm": "model={kind: recurrent_lm, embedding: 32, hidden: 48, dropout: 0.0}",
}


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "verse.txt"
    path.write_text(VERSE * 40, encoding="utf-8")
    return path


def recipe(corpus, model, *changes):
    data = {
        name: {"kind": "document", "path": str(corpus), "part": part}
        for name, part in {"train": [0, 0.9], "validation": [0.9, 1]}.items()
    }
    return load_recipe("shakespeare", [f"data={json.dumps(data)}", MODELS[model], *TINY, *changes])


@pytest.mark.parametrize("model", MODELS)
def test_it_learns_what_it_reads(corpus, tmp_path, model):
    said = []
    run, _ = train_recipe(recipe(corpus, model), tmp_path / "run", say=said.append)
    events = [event for event in run.events() if event["event"] == "evaluate"]
    assert events[-1]["bits_per_byte"] < min(1.0, events[0]["bits_per_byte"])
    assert events[-1]["samples"][0][0] == "the"
    assert not (run.path / "tokens").exists()
    completer = load_completer(run.path)
    assert completer.complete(["the cat sat on"], max_tokens=8)[0].text == " the mat"
    scores = {score.metric: score.score for score in completer.evaluate().scores()}
    assert scores["bits_per_byte"] == pytest.approx(events[-1]["bits_per_byte"], rel=1e-4)
    assert scores["perplexity"] == pytest.approx(events[-1]["perplexity"], rel=1e-4)
    assert parse_recipe(run.config).scored() == set(scores)


EXPERTS = "model.experts={count: 4, active: 2, d_ff: 24, balance: %s}"


@pytest.mark.parametrize("balance", ["loss", "bias", "none"])
def test_a_step_of_experts_does_not_depend_on_how_it_is_cut(corpus, tmp_path, balance):
    """The balance is over the whole step, however many batches it is read in."""
    weights = []
    for parts in (1, 4):
        changes = [
            EXPERTS % balance,
            f"batching.tokens={128 // parts}",
            f"training.accumulate={parts}",
            "training.steps=6",
        ]
        run, _ = train_recipe(recipe(corpus, "decoder", *changes), tmp_path / f"{parts}")
        weights.append(run.load_weights())
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, atol=2e-5, rtol=1e-3)
    moved = max(tensor.abs().max() for n, tensor in weights[0].items() if "preference" in n)
    assert (moved > 0) == (balance == "bias")
    steps = [event for event in run.events() if event["event"] == "step"]
    assert ("balance" in steps[0]) == (balance == "loss")
    assert steps[0]["busiest"] >= 1 >= steps[0]["idlest"] >= 0


def test_it_fills_in_the_middle(corpus, tmp_path):
    lines = tmp_path / "lines.txt"
    lines.write_text("the cat sat by a fire\n" * 100, encoding="utf-8")
    source = json.dumps({"kind": "lines", "path": str(lines)})
    run, _ = train_recipe(
        recipe(
            corpus,
            "decoder",
            f"data={{train: {source}, validation: {source}}}",
            "tokenizer={kind: character, special: ['[PREFIX]', '[SUFFIX]', '[MIDDLE]']}",
            "objective={kind: fill_in_the_middle, infilling: {share: 0.8}}",
            "batching.length=64",
            "batching.tokens=1024",
            "training.steps=300",
        ),
        tmp_path / "run",
    )
    completer = load_completer(run.path)
    found = completer.complete(["the cat "], suffix=" a fire", max_tokens=10)
    assert found[0].text == "sat by"
    with pytest.raises(ConfigError, match="fill_in_the_middle marks"):
        recipe(corpus, "decoder", "objective.kind=fill_in_the_middle")


def test_prefixes_are_for_decoders(corpus, tmp_path):
    run, _ = train_recipe(recipe(corpus, "decoder", "objective.kind=prefix"), tmp_path / "run")
    events = [event for event in run.events() if event["event"] == "evaluate"]
    assert events[-1]["nll"] < events[0]["nll"]
    with pytest.raises(ConfigError, match="one direction"):
        recipe(corpus, "lstm", "objective.kind=prefix")


def test_heads_that_look_further_ahead_are_for_training(corpus, tmp_path):
    options = [corpus, "decoder", "objective={ahead: 2, ahead_weight: 0.5}"]
    run, _ = train_recipe(recipe(*options), tmp_path / "run")
    steps = [event for event in run.events() if event["event"] == "step"]
    for name in ("loss", "ahead2", "ahead3"):
        assert steps[-1][name] < steps[0][name]
    weights = run.load_weights()
    ahead = {name for name in weights if name.startswith("ahead.")}
    assert {name.split(".")[2] for name in ahead} == {"0", "1"}
    completer = load_completer(run.path)
    assert completer.model.state_dict().keys() == weights.keys() - ahead
    last = [event for event in run.events() if event["event"] == "evaluate"][-1]
    score = completer.evaluate().scores(bootstrap=0)[0]
    assert (score.metric, score.score) == ("bits_per_byte", pytest.approx(last["bits_per_byte"]))
    killed = tmp_path / "killed"
    with pytest.raises(Killed):
        train_recipe(recipe(*options), killed, hooks=[Kill()])
    found = resume_run(killed)[0].load_weights()
    assert all((weights[name] == found[name]).all() for name in weights)
    with pytest.raises(ConfigError, match=r"needs model\.kind=decoder"):
        recipe(corpus, "lstm", "objective.ahead=2")
    with pytest.raises(ConfigError, match=r"objective\.ahead to 14"):
        recipe(corpus, "decoder", "objective.ahead=15")


class Killed(Exception):
    """As a power cut would."""


class Kill(Hook):
    def step(self, event):
        if event.step == 31:
            raise Killed


def test_a_stopped_run_ends_with_the_same_weights(corpus, tmp_path):
    whole, _ = train_recipe(recipe(corpus, "decoder"), tmp_path / "whole")

    with pytest.raises(Killed):
        train_recipe(recipe(corpus, "decoder"), tmp_path / "cut", hooks=[Kill()])
    cut, _ = resume_run(tmp_path / "cut")
    expected, found = whole.load_weights(), cut.load_weights()
    assert all((expected[name] == found[name]).all() for name in expected)


def test_parts_of_a_document(corpus):
    texts = [
        next(TextFile(kind="document", path=corpus, part=part).read()).text
        for part in ((0.0, 0.25), (0.25, 1.0))
    ]
    assert "".join(texts) == VERSE * 40
    with pytest.raises(ConfigError, match="belongs to kind 'document'"):
        TextFile.parse({"path": corpus, "part": [0, 0.5]}, where="here")
    with pytest.raises(ConfigError, match="from < to"):
        TextFile.parse({"kind": "document", "path": corpus, "part": [0.5, 0.5]}, where="here")
    empty = corpus.with_name("empty.txt")
    empty.write_text("", encoding="utf-8")
    with pytest.raises(DataError):
        list(TextFile(kind="document", path=empty).read())


@pytest.mark.slow
def test_the_verb(corpus, command, tmp_path):
    train_recipe(recipe(corpus, "lstm"), tmp_path / "run")

    def peluche(*arguments, text=None):
        return command(*arguments, cwd=tmp_path, input=text)

    found = peluche("complete", "run", "the cat", "--greedy", "--max-tokens", "7")
    assert found.stdout == "the cat sat on\n", found.stderr
    lines = peluche("complete", "run", "--json", "--samples", "2", text="the\nand\n").stdout
    assert [json.loads(line)["prompt"] for line in lines.splitlines()] == [
        *["the"] * 2,
        *["and"] * 2,
    ]
    found = peluche("complete", "run", "a", "--greedy", "--samples", "2")
    assert found.returncode == 2
    assert "drop --greedy" in found.stderr
    found = peluche("evaluate", "run", str(corpus), "--json")
    assert [json.loads(line)["metric"] for line in found.stdout.splitlines()] == [
        "bits_per_byte",
        "perplexity",
        "nll",
    ]
    with pytest.raises(ConfigError, match="use: peluche complete"):
        load_translator(tmp_path / "run")
