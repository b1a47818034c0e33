"""From labelled texts to labels, by every way a person would take."""

import json
import shutil

import pytest
import torch

import peluche
from peluche.data.classification import encode_texts
from peluche.errors import CheckpointError, ConfigError, DataError
from peluche.hub.run import RunDirectory
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.train import evaluate_run, resume_run, train_recipe
from peluche.reporting.report import save_examples, write_report
from peluche.tasks.classify import fit_scales
from peluche.tasks.load import load_classifier, load_translator
from peluche.text.labels import Labels
from peluche.text.tokenizer import TokenizerConfig

GOOD, BAD = ["lovely", "soft", "warm"], ["dull", "cold", "grim"]
THINGS = ["bear", "film", "book", "song", "night"]


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    rows = [
        f"a {word} {thing}\t{label}"
        for words, label in ((GOOD, "good"), (BAD, "bad"))
        for word in words
        for thing in THINGS
    ]
    path = folder / "train.tsv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def values(texts, **changes):
    source = {"kind": "tsv", "path": str(texts)}
    return {
        "name": "tiny",
        "task": "classification",
        "data": {"train": source, "validation": source},
        "tokenizer": {"kind": "word"},
        "model": {"encoder": {"kind": "bag", "embedding": 16, "dropout": 0.1}, "pooling": "mean"},
        "batching": {"tokens": 64},
        "optimizer": {"lr": 2e-2},
        "schedule": {"kind": "cosine", "warmup": 5},
        "training": {
            "steps": 40,
            "evaluate_every": 20,
            "checkpoint_every": 10,
            "threads": 1,
            "select": "accuracy",
        },
        **changes,
    }


@pytest.fixture(scope="module")
def run(texts, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "tiny"
    finished, reason = train_recipe(parse_recipe(values(texts)), path)
    assert reason == "finished"
    return finished


def test_it_learns_and_is_scored(run):
    classifier = peluche.load(str(run.path))
    scores, examples = evaluate_run(run, classifier)
    found = {score.metric: score for score in scores}
    assert found["accuracy"].score == 100
    assert found["f1_macro"].ci is not None
    assert {"accuracy", "f1_macro", "f1[good]", "recall[bad]"} <= set(found)
    assert parse_recipe(run.config).scored() == set(found)
    assert examples[0] == {"source": "a lovely bear", "reference": "good", "output": "good"}
    assert write_report(run).read_text(encoding="utf-8").count("a lovely bear") == 0
    save_examples(run, examples)
    assert "a lovely bear" in write_report(run).read_text(encoding="utf-8")


def test_probabilities_sum_to_one_and_are_calibrated(run):
    classifier = load_classifier(run.path)
    (found,) = classifier.classify(["a soft bear"])
    assert found.label == "good"
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert list(found.probabilities) == ["bad", "good"]
    assert len(classifier.scales) == 1
    assert classifier.scales[0] != 1


def test_batches_of_any_size_say_the_same(run):
    classifier = load_classifier(run.path)
    lines = ["a dull film", "a warm and soft and lovely song", "", "grim"] * 5
    together = classifier.logits(lines)
    alone = torch.cat([classifier.logits([line]) for line in lines])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_the_verb(run, command):
    for options, expected in (([], "good\nbad\n"), (["--json"], None)):
        result = command("classify", run.path, *options, input="a warm bear\na cold night\n")
        if expected is not None:
            assert result.stdout == expected
        else:
            rows = [json.loads(line) for line in result.stdout.splitlines()]
            assert [row["label"] for row in rows] == ["good", "bad"]
            assert set(rows[0]["probabilities"]) == {"good", "bad"}


def test_the_wrong_verb_says_which_is_right(run):
    with pytest.raises(ConfigError, match="made for classification") as caught:
        load_translator(run.path)
    assert "peluche classify" in str(caught.value)


def test_stopped_and_resumed_equals_uninterrupted(texts, tmp_path):
    recipe = parse_recipe(values(texts))

    class Stop:
        def start(self, trainer):
            self.trainer = trainer

        def step(self, event):
            if event.step == 15:
                self.trainer.request_stop("enough")

        def evaluate(self, event): ...
        def checkpoint(self, step): ...
        def stop(self, reason): ...
        def state(self):
            return {}

        def load_state(self, state): ...

    whole, _ = train_recipe(recipe, tmp_path / "whole")
    train_recipe(recipe, tmp_path / "cut", hooks=[Stop()])
    cut, _ = resume_run(tmp_path / "cut")
    for name, tensor in whole.load_weights().items():
        assert torch.equal(tensor, cut.load_weights()[name])


def test_a_label_never_seen_in_training_is_an_error(texts, tmp_path):
    other = tmp_path / "validation.tsv"
    other.write_text("a lovely bear\tgoof\n", encoding="utf-8")
    source = {"kind": "tsv", "path": str(other)}
    changed = values(texts)
    changed["data"] = {**changed["data"], "validation": source}
    with pytest.raises(DataError, match="'goof' was never seen in training") as caught:
        train_recipe(parse_recipe(changed), tmp_path / "run")
    assert "validation.tsv:1" in str(caught.value)
    assert "did you mean 'good'" in str(caught.value)


def test_unknown_tasks_are_refused(texts):
    with pytest.raises(ConfigError, match="did you mean 'classification'"):
        parse_recipe(values(texts, task="clasification"))


@pytest.mark.parametrize("limit", [2, 5, 6, 7, 100])
def test_pairs_that_are_too_long_share_the_room(limit):
    tokenizer = TokenizerConfig(kind="word").build(["a b c d e f g"])
    ids, firsts, cut = encode_texts(["a b c d", "a"], ["e", "b c d e f"], tokenizer, limit)
    ones = tokenizer.encode_batch(["a b c d", "a"], eos=True)
    others = tokenizer.encode_batch(["e", "b c d e f"], eos=True)
    for row, (one, other) in enumerate(zip(ones, others, strict=True)):
        assert len(ids[row]) == min(limit, len(one) + len(other))
        assert ids[row][: firsts[row]] == one[: firsts[row]]
        assert ids[row][firsts[row] :] == other[: len(ids[row]) - firsts[row]]
        assert firsts[row] >= min(len(one), limit // 2)
    assert cut == (2 if limit < 7 else 1 if limit < 8 else 0)


def test_scale_of_overconfident_logits():
    """Logits of ±2 that are right three times in four: log 3 is what they should have been."""
    logits = torch.tensor([[[2.0, 0.0]] * 4])
    assert fit_scales(logits, [0, 0, 0, 1], apart=False) == [pytest.approx(1.0986 / 2, rel=1e-3)]
    # All right: sharp, not infinitely.
    assert 5 < fit_scales(logits, [0, 0, 0, 0], apart=False)[0] < 25


def test_a_part_that_says_nothing_hardly_counts():
    torch.manual_seed(0)
    gold = torch.arange(2).repeat(500)
    knows = torch.nn.functional.one_hot(gold, 2) + torch.randn(1000, 2)
    guesses = 3 * torch.randn(1000, 2)
    parts = torch.stack([knows, guesses])
    # Half the difference of two such normal variables' means, by their variance.
    apart = fit_scales(parts, gold.tolist(), apart=True)
    assert apart[0] == pytest.approx(1, abs=0.15)
    assert apart[1] < 0.06
    together = fit_scales(parts, gold.tolist(), apart=False)
    assert together[0] == together[1] < 0.3


def test_a_run_of_before_has_one_temperature(run, tmp_path):
    old = RunDirectory.open(shutil.copytree(run.path, tmp_path / "old"))
    old.save_part("calibration.json", lambda path: path.write_text('{"temperature": 4.0}'))
    assert load_classifier(old.path).scales == (0.25,)


def test_labels(tmp_path):
    labels = Labels.of(["good", "bad", "good"])
    assert list(labels) == ["bad", "good"]
    labels.save(tmp_path / "labels.json")
    assert list(Labels.load(tmp_path / "labels.json")) == ["bad", "good"]
    (tmp_path / "labels.json").write_text('{"a": 1}')
    with pytest.raises(CheckpointError, match="not a list"):
        Labels.load(tmp_path / "labels.json")
    with pytest.raises(DataError, match="no labels"):
        Labels([])
    with pytest.raises(DataError, match="twice"):
        Labels(["a", "a"])
