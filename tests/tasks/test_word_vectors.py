"""From a text to word vectors, and what can be asked of them."""

import json
import tracemalloc

import numpy as np
import pytest
import torch

import peluche
from peluche.errors import ConfigError, DataError
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.train import evaluate_run, resume_run, train_recipe
from peluche.reporting.report import save_examples, write_report
from peluche.tasks.load import load_classifier, load_vectors
from peluche.tasks.word_vectors import WordVectors
from peluche.text.vocabulary import Vocabulary
from peluche.training.events import Hook

GROUPS = (
    ["teddy", "bear", "toy", "soft"],
    ["king", "queen", "crown", "throne"],
    ["cat", "dog", "wolf"],
)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    random = np.random.default_rng(0)
    lines = [
        " ".join(random.choice(GROUPS[number % 3], size=12)).replace("teddy", "teddy bear")
        for number in range(300)
    ]
    path = tmp_path_factory.mktemp("text") / "train.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (path.parent / "pairs.txt").write_text(
        "word1,word2,mean\nking,queen,9\ncat,dog,8\ncat,king,1\nsoft,crown,0.5\nsoft,unicorn,1\n"
    )
    (path.parent / "analogies.txt").write_text(
        ": kings\nking crown queen throne\n: others\ncat dog king queen\nunicorn a b c\n"
    )
    return path


def values(text, **changes):
    return {
        "name": "tiny",
        "task": "word_vectors",
        "data": {"train": {"path": str(text)}},
        "model": {"kind": "word2vec", "dimensions": 12},
        "window": {"size": 3, "subsample": 0},
        "batching": {"words": 500},
        "evaluation": {
            "files": [str(text.parent / "pairs.txt"), str(text.parent / "analogies.txt")],
            "sample": "king",
        },
        "optimizer": {"kind": "sgd", "lr": 0.1},
        "training": {"epochs": 4, "evaluate_every": 20, "checkpoint_every": 5, "threads": 1},
        **changes,
    }


GLOVE = {
    "model": {"kind": "glove", "dimensions": 12},
    "objective": {"kind": "glove"},
    "cooccurrence": {"size": 3},
    "batching": {"words": 500, "pairs": 64},
    "optimizer": {"kind": "adagrad", "lr": 0.05},
}
SOFTMAX = {
    "objective": {"kind": "softmax"},
    "optimizer": {"kind": "adam", "lr": 0.01},
}
CBOW = {"model": {"kind": "word2vec", "architecture": "cbow", "dimensions": 12}}
PLAIN = {"objective": {"kind": "negative_sampling", "kernel": "torch"}}
KINDS = {"negatives": {}, "torch": PLAIN, "cbow": CBOW, "softmax": SOFTMAX, "glove": GLOVE}


@pytest.fixture(scope="module")
def run(text, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "tiny"
    finished, reason = train_recipe(parse_recipe(values(text)), path)
    assert reason == "finished"
    return finished


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns_what_stands_together(text, tmp_path, kind):
    epochs = 20 if kind == "glove" else 8
    recipe = values(text, **KINDS[kind])
    recipe["training"] = {**recipe["training"], "epochs": epochs}
    path = tmp_path / "run"
    run, _ = train_recipe(parse_recipe(recipe), path)
    vectors = peluche.load(str(path))
    for group in GROUPS[1:]:
        found = {neighbour.word for neighbour in vectors.similar(group[0], len(group) - 1)}
        assert found == set(group[1:])
    losses = [event["loss"] for event in run.events() if event["event"] == "epoch"]
    assert len(losses) == epochs
    assert losses[-1] < losses[0]
    assert not list(path.glob("*.bin"))


def test_the_epochs_loss_is_the_mean_over_all_predictions(text, tmp_path):
    heard = []

    class Listen(Hook):
        def step(self, event):
            heard.append((event.epoch, event.values["loss"], event.counts["loss"]))

    run, _ = train_recipe(parse_recipe(values(text)), tmp_path / "run", hooks=[Listen()])
    logged = [event["loss"] for event in run.events() if event["event"] == "epoch"]
    for epoch in range(4):
        losses, counts = zip(*[(v, n) for e, v, n in heard if e == epoch], strict=True)
        assert logged[epoch] == pytest.approx(np.average(losses, weights=counts))


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_and_resumed_equals_uninterrupted(text, tmp_path, kind):
    recipe = parse_recipe(values(text, **KINDS[kind]))

    class Stop(Hook):
        def start(self, trainer):
            self.trainer = trainer

        def step(self, event):
            if event.step == 12:
                self.trainer.request_stop("enough")

    whole, _ = train_recipe(recipe, tmp_path / "whole")
    train_recipe(recipe, tmp_path / "cut", hooks=[Stop()])
    cut, _ = resume_run(tmp_path / "cut")
    for name, tensor in whole.load_weights().items():
        assert torch.equal(tensor, cut.load_weights()[name])
    epochs = [
        [event["loss"] for event in run.events() if event["event"] == "epoch"]
        for run in (whole, cut)
    ]
    assert epochs[0] == epochs[1]


def test_several_workers_learn_too(text, tmp_path):
    recipe = values(text)
    recipe["training"] = {**recipe["training"], "threads": 2}
    before, said = torch.get_num_threads(), []
    try:
        train_recipe(parse_recipe(recipe), tmp_path / "run", say=said.append)
    finally:
        torch.set_num_threads(before)
    assert load_vectors(tmp_path / "run").similar("king", 1)[0].word in GROUPS[1]


def test_minutes_are_measured_without_changing_anything(text, tmp_path):
    recipe = values(text)
    recipe["training"] = {"minutes": 0.01, "threads": 1}
    _, reason = train_recipe(parse_recipe(recipe), tmp_path / "run")
    assert reason == "finished"


def test_phrases_are_words(text, tmp_path):
    recipe = values(text, vocabulary={"phrases": {"threshold": 5}})
    train_recipe(parse_recipe(recipe), tmp_path / "run")
    vectors = load_vectors(tmp_path / "run")
    assert "teddy_bear" in vectors.vocabulary
    assert vectors.similar("teddy bear", 2) == vectors.similar("teddy_bear", 2)


def test_tests_of_words(run, text):
    vectors = load_vectors(run.path)
    pairs = {one.metric: one for one in vectors.evaluate(text.parent / "pairs.txt").scores()}
    assert pairs["spearman[pairs]"].score > 70
    assert pairs["spearman[pairs]"].ci is not None
    assert pairs["coverage[pairs]"].score == 80
    analogies = {
        one.metric: one for one in vectors.evaluate(text.parent / "analogies.txt").scores()
    }
    assert set(analogies) == {
        *("analogies[analogies]", "analogies[kings]", "analogies[others]", "coverage[analogies]")
    }
    assert analogies["coverage[analogies]"].score == pytest.approx(200 / 3)
    scores, examples = evaluate_run(run, vectors)
    assert {score.metric for score in scores} == {*pairs, *analogies}
    assert parse_recipe(run.config).scored() == {*pairs, *analogies}
    assert examples[0]["source"] == "crown − king + queen"
    assert examples[0]["reference"] == "throne"
    save_examples(run, examples)
    assert "crown − king + queen" in write_report(run).read_text(encoding="utf-8")


def test_cosines_and_analogies_by_hand():
    table = torch.tensor([[1.0, 0], [0, 2.0], [3.0, 3.0], [0, -1.0]])
    vectors = WordVectors(Vocabulary(["east", "north", "between", "south"], [1] * 4), table)
    assert vectors.similarity("east", "between") == pytest.approx(2**-0.5)
    found = vectors.similar("east")
    assert found[0].word == "between"
    assert {neighbour.word for neighbour in found} == {"between", "north", "south"}
    assert vectors["between"].tolist() == [3, 3]
    # north − south + east = (1, 2); "between" is the only word left.
    (answer,) = vectors.analogy("north", "south", "east")
    assert answer.word == "between"
    assert answer.similarity == pytest.approx(3 / 10**0.5)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "no word pairs and no analogies"),
        ("a b 1\na b\n", "two words and a number"),
        ("a b 1\na b c\n", "two words and a number"),
        ("a b c d\na b 1\n", "two words and a number"),
        ("unicorn dragon 5\n", "none of the words"),
        ("unicorn dragon a b\n", "none of the words"),
    ],
)
def test_bad_tests(run, tmp_path, content, said):
    path = tmp_path / "test.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        load_vectors(run.path).evaluate(path)


def test_verbs(run, command, tmp_path):
    plain = command("similar", run.path, "king", "--count", "3")
    assert {line.split()[1] for line in plain.stdout.splitlines()} == {"queen", "crown", "throne"}
    found = command("analogy", run.path, "king", "queen", "crown", "--json", "--count", "1")
    assert json.loads(found.stdout)["word"] == "throne"
    unknown = command("similar", run.path, "kign")
    assert unknown.returncode == 3
    assert "did you mean 'king'" in unknown.stderr


@pytest.mark.parametrize(("kind", "name"), [("word2vec", "v.bin"), ("word2vec-text", "v.txt")])
def test_exported_vectors_are_read_wherever_a_run_is(run, command, tmp_path, kind, name):
    written = command("export", run.path, "--to", kind, "--output", tmp_path / name)
    assert written.stdout == f"{tmp_path / name}\n"
    read, original = load_vectors(tmp_path / name), load_vectors(run.path)
    assert torch.equal(read.vectors, original.vectors)
    assert read.similar("cat", 2) == original.similar("cat", 2)


def test_mistakes_are_told(run, text, tmp_path):
    with pytest.raises(ConfigError, match="peluche similar"):
        load_classifier(run.path)
    with pytest.raises(ConfigError, match="does not train a model of kind 'glove'"):
        parse_recipe(values(text, model={"kind": "glove"}))
    with pytest.raises(DataError, match="the word 'kong' is not"):
        train_recipe(parse_recipe(values(text, evaluation={"sample": "kong"})), tmp_path / "a")
    latin = tmp_path / "latin.txt"
    latin.write_bytes("un été doux\n".encode("latin-1"))
    with pytest.raises(DataError, match="are not utf-8"):
        train_recipe(parse_recipe(values(text, data={"train": {"path": latin}})), tmp_path / "b")
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n")
    with pytest.raises(DataError, match=r"none of 2 examples is left|corpus is empty"):
        train_recipe(parse_recipe(values(text, data={"train": {"path": empty}})), tmp_path / "c")


def test_a_text_is_not_held_in_memory(text, tmp_path):
    """Counting, encoding and training stream: memory does not grow with the text."""
    large = tmp_path / "large.txt"
    large.write_text(text.read_text(encoding="utf-8") * 100, encoding="utf-8")
    peaks = {}
    for path in (text, large, text):
        changes = {"evaluation": {}, "training": {"steps": 1, "threads": 1}}
        recipe = parse_recipe(values(path, **changes))
        tracemalloc.start()
        train_recipe(recipe, tmp_path / f"run-{len(peaks)}-{path.stem}")
        _, peaks[path] = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert large.stat().st_size > 1_500_000
    assert peaks[large] < peaks[text] + 600_000  # a piece that is read
