"""From pairs of texts to vectors that tell which belong together."""

import itertools

import pytest
import torch

from peluche.data.pairs import Pair
from peluche.errors import ConfigError, DataError
from peluche.metrics.correlation import Spearman
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.train import train_recipe
from peluche.tasks.embed import _ranks
from peluche.tasks.load import load_embedder

WORDS = {"bear": "ours", "cat": "chat", "dog": "chien", "child": "enfant", "reads": "lit"}
WORDS |= {"sees": "voit", "likes": "aime", "eats": "mange", "small": "petit", "old": "vieux"}


def pairs(*, test):
    found = []
    nouns, verbs, kinds = (list(WORDS)[a:b] for a, b in ((0, 4), (4, 8), (8, 10)))
    for number, words in enumerate(itertools.product(kinds, nouns, verbs, nouns)):
        if (number % 5 == 0) == test:
            found.append((" ".join(words), " ".join(WORDS[word] for word in words)))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    for name in ("train", "test"):
        lines = ["\t".join(pair) + "\n" for pair in pairs(test=name == "test")]
        (folder / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
    return folder


def recipe(folder, encoder=None, **changes):
    def source(name):
        return {"kind": "tsv", "path": str(folder / f"{name}.tsv")}

    return parse_recipe(
        {
            "name": "tiny",
            "task": "embedding",
            "data": {"train": source("train"), "validation": source("test")},
            "tokenizer": {"kind": "word"},
            "model": {"encoder": encoder or {"kind": "bag", "embedding": 24, "dropout": 0.0}},
            "objective": {"temperature": 0.1},
            "batching": {"tokens": 120},
            "optimizer": {"lr": 2e-2},
            "schedule": {"kind": "constant", "warmup": 0},
            "training": {"steps": 60, "evaluate_every": 30, "threads": 1},
            **changes,
        }
    )


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    return train_recipe(recipe(folder), tmp_path_factory.mktemp("runs") / "run")[0]


def test_sentences_never_seen_are_found(run, folder):
    embedder = load_embedder(run.path)
    found = {one.metric: one.score for one in embedder.evaluate().scores(bootstrap=0)}
    assert parse_recipe(run.config).scored() == set(found)
    # A bag of words does not tell who sees whom.
    assert found["recall_at_1"] > 40
    assert found["recall_at_5"] > 95
    events = [event for event in run.events() if event["event"] == "evaluate"]
    assert events[-1]["recall_at_1"] == pytest.approx(found["recall_at_1"])
    near, far = embedder.embed(["small bear", "petit ours", "aime"])[0:2], embedder.embed(["aime"])
    assert float(near[0] @ near[1]) > float(near[0] @ far[0])
    torch.testing.assert_close(near.norm(dim=-1), torch.ones(2))


def test_how_alike_is_compared_with_people(run, tmp_path):
    rows = [("small bear", "petit ours", 5), ("old cat", "vieux chat", 4.5), ("dog", "mange", 0.5)]
    path = tmp_path / "alike.tsv"
    path.write_text("".join(f"{a}\t{b}\t{c}\n" for a, b, c in rows), encoding="utf-8")
    embedder = load_embedder(run.path)
    found = embedder.evaluate(path, columns="0,1,2")
    vectors = [embedder.embed([row[side] for row in rows]) for side in (0, 1)]
    cosines = (vectors[0] * vectors[1]).sum(-1).tolist()
    statistics = Spearman().statistics(cosines, [row[2] for row in rows])
    (score,) = found.scores(bootstrap=0)
    assert score.metric == "spearman"
    assert score.score == pytest.approx(float(Spearman().aggregate(statistics.sum(0))))
    path.write_text("a\tb\talike\n", encoding="utf-8")
    with pytest.raises(DataError, match="'alike' does not say how alike") as caught:
        embedder.evaluate(path, columns="0,1,2")
    assert "alike.tsv:1" in str(caught.value)


def test_ranks_by_brute_force():
    torch.manual_seed(0)
    sources, targets = torch.randn(2, 700, 3)
    texts = [f"{number % 650}" for number in range(700)]
    targets[650:] = targets[:50]  # what is the same text has the same vector
    ranks, nearest = _ranks(sources, targets, texts)
    for row in (0, 3, 511, 512, 660, 699):
        cosines = sources[row] @ targets[:650].T
        assert ranks[row] == 1 + int((cosines > cosines[row % 650]).sum())
        assert nearest[row] == int(cosines.argmax())


def test_an_embedder_goes_on_from_another(folder, run, tmp_path):
    with pytest.raises(ConfigError, match="no encoder to start from"):
        train_recipe(
            recipe(folder, {"kind": "pretrained", "model": str(run.path)}), tmp_path / "refused"
        )
    text = tmp_path / "text.txt"
    text.write_text("".join(f"{one} {other}\n" for one, other in pairs(test=False)))
    source = {"path": str(text)}
    values = {
        "name": "mlm",
        "task": "masked_language_modelling",
        "data": {"train": source, "validation": source},
        "tokenizer": {"kind": "wordpiece", "vocab_size": 80, "special": ["[MASK]"]},
        "model": {"d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "max_length": 24},
        "batching": {"length": 16, "tokens": 256},
        "training": {"steps": 2, "threads": 1},
    }
    train_recipe(parse_recipe(values), tmp_path / "mlm")
    encoder = {"kind": "pretrained", "model": str(tmp_path / "mlm")}
    batching = {"tokens": 200, "max_length": 24}
    tuned, _ = train_recipe(recipe(folder, encoder, batching=batching), tmp_path / "tuned")
    events = [event for event in tuned.events() if event["event"] == "evaluate"]
    assert events[-1]["loss"] < events[0]["loss"]
    embedder = load_embedder(tuned.path)
    assert embedder.config.max_length == 24
    found = {one.metric: one.score for one in embedder.evaluate().scores(bootstrap=0)}
    assert found["mrr"] == pytest.approx(events[-1]["mrr"])
    source = embedder.source([str(folder / "test.tsv")])
    assert isinstance(next(iter(source.read())), Pair)
