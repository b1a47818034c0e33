"""A recipe small enough to train in a test."""

from pathlib import Path

import pytest

from peluche.recipes.base import Recipe
from peluche.recipes.recipe import parse_recipe

NOUNS = {"bear": "ours", "cat": "chat", "dog": "chien", "wolf": "loup", "rabbit": "lapin"}
VERBS = {"reads": "lit", "sleeps": "dort", "sings": "chante", "plays": "joue"}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Twenty aligned sentences, as train.en and train.fr."""
    pairs = [
        (f"the {noun} {verb}", f"le {nom} {verbe}")
        for noun, nom in NOUNS.items()
        for verb, verbe in VERBS.items()
    ]
    for language, side in (("en", 0), ("fr", 1)):
        text = "".join(f"{pair[side]}\n" for pair in pairs)
        (tmp_path / f"train.{language}").write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def tiny_values(corpus: Path) -> dict:
    """Values of a tiny recipe, to be changed and parsed."""
    source = {
        "kind": "lines",
        "source": str(corpus / "train.en"),
        "target": str(corpus / "train.fr"),
    }
    return {
        "name": "tiny",
        "data": {"train": source, "validation": {**source, "limit": 5}},
        "tokenizer": {"kind": "word"},
        "model": {"d_model": 16, "layers": 1, "heads": 2, "d_ff": 32, "dropout": 0.1},
        "batching": {"tokens": 24},
        "optimizer": {"lr": 3e-3},
        "schedule": {"kind": "cosine", "warmup": 5},
        "training": {
            "steps": 20,
            "evaluate_every": 10,
            "checkpoint_every": 5,
            "log_every": 1,
            "threads": 1,
        },
        "evaluation": {"metrics": ["exact_match"], "sample": "the bear reads"},
    }


@pytest.fixture
def tiny_recipe(tiny_values: dict) -> Recipe:
    return parse_recipe(tiny_values)


@pytest.fixture
def decoder_values(tmp_path: Path) -> dict:
    """A tiny language model; every token is seen, so that no gradient is mere rounding."""
    text = tmp_path / "text.txt"
    text.write_text("the bear reads and the cat sings\nthe dog sleeps by the wolf\n" * 40)
    source = {"kind": "document", "path": str(text)}
    return {
        "name": "tiny",
        "task": "language_modelling",
        "data": {"train": source, "validation": {**source, "part": [0.9, 1.0]}},
        "tokenizer": {"kind": "character"},
        "model": {
            "kind": "decoder",
            "d_model": 16,
            "layers": 2,
            "heads": 4,
            "kv_heads": 2,
            "d_ff": 32,
            "dropout": 0.0,
        },
        "batching": {"length": 16, "tokens": 64},
        "optimizer": {"lr": 3e-3, "eps": 1e-6},
        "schedule": {"kind": "cosine", "warmup": 3},
        "training": {
            "steps": 8,
            "accumulate": 4,
            "evaluate_every": 4,
            "checkpoint_every": 2,
            "log_every": 1,
            "threads": 1,
            "select": "loss",
        },
    }
