"""A tiny recipe of every family, on texts made here, and the losses of its first twenty steps.

`python tests/golden/golden_recipes.py` writes `curves.json` anew: do so only where training is
meant to have changed, and say why in the commit.
"""

import itertools
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from peluche.data.brackets import tree_of
from peluche.data.sentences import Sentence, write_conllu
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.train import train_recipe

CURVES = Path(__file__).with_name("curves.json")
STEPS = 20

ADJECTIVES = {"old": "vieux", "small": "petit", "red": "rouge"}
NOUNS = {"bear": "ours", "cat": "chat", "dog": "chien", "wolf": "loup"}
VERBS = {"sees": "voit", "has": "a"}
WORDS = [
    (adjective, *nouns, verb)
    for adjective, nouns, verb in itertools.product(
        ADJECTIVES, itertools.permutations(NOUNS, 2), VERBS
    )
]
TAGS = ["DET", "ADJ", "NOUN", "VERB", "DET", "NOUN"]
HEADS, RELATIONS = [3, 3, 4, 0, 6, 4], ["det", "mod", "subj", "root", "det", "obj"]
SPANS = [(0, 6, "S"), (0, 3, "NP"), (3, 6, "VP"), (4, 6, "NP")]


def write_texts(folder: Path) -> None:
    """The same 72 sentences in every form that a recipe reads."""
    lines, pairs, labelled, sentences, trees, paragraphs = [], [], [], [], [], []
    for number, (adjective, subject, other, verb) in enumerate(WORDS):
        english = f"the {adjective} {subject} {verb} the {other}"
        french = f"le {ADJECTIVES[adjective]} {NOUNS[subject]} {VERBS[verb]} le {NOUNS[other]}"
        lines.append(english)
        pairs.append(f"{english}\t{french}")
        labelled.append(f"{verb}\tthe {subject} {verb} a {adjective} {other}")
        tokens = english.split()
        sentences.append(Sentence(tokens, "", TAGS, HEADS, RELATIONS))
        trees.append(str(tree_of(tokens, TAGS, SPANS)))
        answer = {"text": subject, "answer_start": english.index(subject)}
        asked = {"id": str(number), "question": f"who {verb} the {other}", "answers": [answer]}
        paragraphs.append({"context": english, "qas": [asked]})
    for name, rows in {
        "lines.txt": lines,
        "pairs.tsv": pairs,
        "labelled.tsv": labelled,
        "trees.mrg": trees,
    }.items():
        (folder / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "trees.conllu").write_text(write_conllu(sentences), encoding="utf-8")
    squad = {"data": [{"paragraphs": paragraphs}]}
    (folder / "questions.json").write_text(json.dumps(squad), encoding="utf-8")


SIZES = {"d_model": 16, "layers": 2, "heads": 2, "d_ff": 32}
ENCODER = {"encoder": {"kind": "transformer", **SIZES}}
WORD = {"tokenizer": {"kind": "word"}}
ROWS = {**WORD, "batching": {"length": 16, "tokens": 128}}
BATCHES = {**WORD, "batching": {"tokens": 128}}
READER = {
    "encoder": {"kind": "recurrent", "embedding": 16, "hidden": 16},
    "characters": {"embedding": 4, "filters": 4, "widths": [2]},
}
SENTENCES = {"batching": {"tokens": 64}, "lexicon": {"min_count": 1}}
VECTORS = {
    "data": {"train": {"path": "lines.txt"}},
    "window": {"size": 3, "subsample": 0},
    "batching": {"words": 100, "pairs": 32},
}
# Task, source, and what the recipe has besides; paths are of the folder with the texts.
FAMILIES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "encoder-decoder": (
        "translation",
        {"kind": "tsv", "path": "pairs.tsv"},
        {**BATCHES, "model": SIZES, "evaluation": {"metrics": ["exact_match"]}},
    ),
    "recurrent seq2seq": (
        "translation",
        {"kind": "tsv", "path": "pairs.tsv"},
        {
            **BATCHES,
            "model": {"kind": "recurrent_seq2seq", "embedding": 16, "hidden": 16},
            "evaluation": {"metrics": ["exact_match"]},
        },
    ),
    "summariser": (
        "summarisation",
        {"kind": "tsv", "path": "pairs.tsv"},
        {
            **BATCHES,
            "model": {**SIZES, "positions": "relative", "norm": "rmsnorm", "activation": "geglu"},
            "evaluation": {"metrics": ["exact_match"]},
        },
    ),
    "decoder": (
        "language_modelling",
        {"path": "lines.txt"},
        {**ROWS, "model": {**SIZES, "kind": "decoder", "positions": "rope"}},
    ),
    "experts": (
        "language_modelling",
        {"path": "lines.txt"},
        {
            **ROWS,
            "model": {
                **SIZES,
                "kind": "decoder",
                "experts": {"count": 4, "active": 2, "d_ff": 16, "balance": "loss"},
            },
        },
    ),
    "state space": (
        "language_modelling",
        {"path": "lines.txt"},
        {
            **ROWS,
            "model": {
                "kind": "state_space_lm",
                "d_model": 16,
                "layers": 2,
                "mixer": {"heads": 2, "width": 16, "state": 8, "chunk": 8},
            },
        },
    ),
    "recurrent language model": (
        "language_modelling",
        {"path": "lines.txt"},
        {**ROWS, "model": {"kind": "recurrent_lm", "embedding": 16, "hidden": 16}},
    ),
    "masked encoder": (
        "masked_language_modelling",
        {"path": "lines.txt"},
        {
            **ROWS,
            "tokenizer": {"kind": "word", "special": ["[MASK]"]},
            "model": {**SIZES, "max_length": 16},
            "masking": {"share": 0.2},
        },
    ),
    "span corruption": (
        "span_corruption",
        {"path": "lines.txt"},
        {**ROWS, "model": {**SIZES, "positions": "relative"}, "corruption": {"sentinels": 4}},
    ),
    "classifier": (
        "classification",
        {"kind": "tsv", "path": "labelled.tsv", "label": 0, "text": 1},
        {**BATCHES, "model": ENCODER},
    ),
    "tagger": (
        "tagging",
        {"kind": "conllu", "path": "trees.conllu"},
        {**SENTENCES, "model": {**READER, "crf": True}},
    ),
    "dependency parser": (
        "dependency_parsing",
        {"kind": "conllu", "path": "trees.conllu"},
        {**SENTENCES, "model": {**READER, "arcs": 16, "relations": 8}},
    ),
    "constituency parser": (
        "constituency_parsing",
        {"kind": "brackets", "path": "trees.mrg"},
        {**SENTENCES, "model": {**READER, "ends": 16}},
    ),
    "embedder": (
        "embedding",
        {"kind": "tsv", "path": "pairs.tsv"},
        {**BATCHES, "model": ENCODER},
    ),
    "answerer": (
        "question_answering",
        {"path": "questions.json"},
        {**BATCHES, "batching": {"tokens": 128, "max_length": 24}, "model": ENCODER},
    ),
    "word2vec": (
        "word_vectors",
        {},
        {
            **VECTORS,
            "model": {"kind": "word2vec", "dimensions": 8},
            "optimizer": {"kind": "sgd", "lr": 0.3},
        },
    ),
    "glove": (
        "word_vectors",
        {},
        {
            **VECTORS,
            "model": {"kind": "glove", "dimensions": 8},
            "objective": {"kind": "glove"},
            "optimizer": {"kind": "adagrad", "lr": 0.05},
        },
    ),
}


def recipe_values(name: str, folder: Path) -> dict[str, Any]:
    """The recipe of a family, on the texts in a folder."""
    task, source, values = FAMILIES[name]

    def placed(source: dict[str, Any]) -> dict[str, Any]:
        return source | {"path": str(folder / source["path"])}

    data = values.get("data", {"train": source, "validation": {**source, "limit": 4}})
    return {
        "name": "golden",
        "task": task,
        "optimizer": {"lr": 1e-2},
        "schedule": {"kind": "cosine", "warmup": 5},
        "training": {"steps": STEPS, "evaluate_every": STEPS, "log_every": 1, "threads": 1},
        **values,
        "data": {part: placed(found) for part, found in data.items()},
    }


def losses(name: str, texts: Path, run: Path) -> list[float]:
    """The training loss of each step of a family's recipe."""
    directory, _ = train_recipe(parse_recipe(recipe_values(name, texts)), run)
    return [event["loss"] for event in directory.events() if event["event"] == "step"]


def write() -> None:
    """Train every family and keep its losses."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_texts(folder)
        curves = {}
        for number, name in enumerate(FAMILIES):
            curve = losses(name, folder, folder / f"run{number}")
            curves[name] = [round(loss, 6) for loss in curve]
            print(f"{name}: {curve[0]:.4f} … {curve[-1]:.4f}", file=sys.stderr)
    rows = [f"  {json.dumps(name)}: {json.dumps(curve)}" for name, curve in curves.items()]
    CURVES.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    write()
