"""Models that start from word vectors."""

import numpy as np
import pytest
import torch
from torch import nn

from peluche.errors import CheckpointError, ConfigError, DataError
from peluche.hub.word2vec_format import write_vectors
from peluche.recipes.pretrained import start_from_vectors, words_of
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.train import train_recipe
from peluche.text.tokenizer import TokenizerConfig

TEXTS = ["A lovely bear", "a dull film"]


@pytest.fixture
def vectors(tmp_path):
    path = tmp_path / "vectors.bin"
    write_vectors(path, ["bear", "a", "unused"], np.eye(3, 8, dtype=np.float32), binary=True)
    return path


def test_known_words_have_their_vectors_and_others_stay_random(vectors):
    tokenizer = TokenizerConfig(kind="word").build(TEXTS)
    embedding = nn.Embedding(len(tokenizer), 8)
    before = embedding.weight.detach().clone()
    said = []
    start_from_vectors(embedding, words_of(tokenizer), vectors, said.append)
    expected = {"▁bear": 0, "▁a": 1, "▁A": 1}
    for number, token in enumerate(tokenizer.tokens()):
        row = torch.eye(3, 8)[expected[token]] if token in expected else before[number]
        assert torch.equal(embedding.weight[number], row)
    assert said == [f"3 of {len(words_of(tokenizer))} words start from vectors of {vectors}"]


def recipe(tmp_path, **encoder):
    path = tmp_path / "texts.tsv"
    path.write_text("a lovely bear\tgood\na dull film\tbad\n", encoding="utf-8")
    source = {"kind": "tsv", "path": str(path)}
    return parse_recipe(
        {
            "name": "tiny",
            "task": "classification",
            "data": {"train": source, "validation": source},
            "tokenizer": {"kind": "word"},
            "model": {"encoder": {"kind": "bag", **encoder}, "pooling": "mean"},
            "optimizer": {"kind": "sgd", "lr": 1e-9},
            "training": {"steps": 1, "threads": 1},
        }
    )


def test_a_classifier_starts_from_them(tmp_path, vectors):
    config = recipe(tmp_path, embedding=8, pretrained=str(vectors))
    run, _ = train_recipe(config, tmp_path / "run")
    weights = run.load_weights()["encoder.embedding.weight"]
    bear = run.tokenizer().id("▁bear")
    torch.testing.assert_close(weights[bear], torch.eye(3, 8)[0], atol=1e-6, rtol=0)


def test_vectors_that_do_not_fit_or_are_not_there(tmp_path, vectors):
    with pytest.raises(ConfigError, match="the vectors have 8 numbers, the embedding has 16"):
        train_recipe(recipe(tmp_path, embedding=16, pretrained=str(vectors)), tmp_path / "a")
    vectors.write_bytes(b"2 8\n")
    with pytest.raises(DataError, match="shorter"):
        train_recipe(recipe(tmp_path, embedding=8, pretrained=str(vectors)), tmp_path / "b")


def test_vectors_of_a_shipped_recipe_that_is_not_trained_yet(tmp_path):
    path = tmp_path / "word2vec-imdb"
    with pytest.raises(CheckpointError, match=f"peluche train word2vec-imdb --run {path}"):
        start_from_vectors(nn.Embedding(5, 8), {4: "bear"}, path, print)
