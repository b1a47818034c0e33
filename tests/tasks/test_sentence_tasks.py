"""From annotated sentences to tags and trees, by every way a person would take."""

import itertools
import json

import pytest
import torch

import peluche
from peluche.data.brackets import tree_of
from peluche.data.sentences import ConlluSentences, Sentence, check_tree, write_conllu
from peluche.errors import CheckpointError, ConfigError, DataError
from peluche.metrics.entities import convert_tags
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.train import evaluate_run, resume_run, train_recipe
from peluche.reporting.report import save_examples, write_report
from peluche.tasks.load import load_classifier, load_parser, load_tagger

# A language of twelve words in which order tells subject from object.
NOUNS, VERBS, DETERMINERS = ["bear", "toy", "book", "child"], ["likes", "sees", "has"], ["a", "the"]
TEST = {("bear", "toy"), ("child", "book")}


def sentence(first, noun, verb, second, other):
    return Sentence(
        [first, noun, verb, second, other, "."],
        "",
        ["DET", "NOUN", "VERB", "DET", "NOUN", "PUNCT"],
        [2, 3, 0, 5, 3, 3],
        ["det", "nsubj", "root", "det", "obj", "punct"],
    )


def sentences(test):
    return [
        sentence(first, noun, verb, second, other)
        for first, noun, verb, second, other in itertools.product(
            DETERMINERS, NOUNS, VERBS, DETERMINERS, NOUNS
        )
        if noun != other and ((noun, other) in TEST) == test
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name, test in (("train", False), ("test", True)):
        found = sentences(test)
        (folder / f"{name}.conllu").write_text(write_conllu(found), encoding="utf-8")
        trees = [
            str(
                tree_of(
                    one.tokens,
                    one.tags,
                    [(0, 6, "S"), (0, 2, "NP"), (2, 5, "VP"), (3, 5, "NP")],
                )
            )
            for one in found
        ]
        (folder / f"{name}.mrg").write_text("\n".join(trees) + "\n", encoding="utf-8")
        entities = [
            "".join(
                f"{token} {'B-toy' if token in ('bear', 'toy') else 'O'}\n" for token in one.tokens
            )
            for one in found
        ]
        (folder / f"{name}.conll").write_text("\n".join(entities), encoding="utf-8")
    return folder


TASKS = {
    "tagging": ("conllu", {}),
    "entities": ("conll", {"crf": True}),
    "dependency_parsing": ("conllu", {"arcs": 16, "relations": 8}),
    "constituency_parsing": ("mrg", {"ends": 32}),
}


def values(folder, name, **changes):
    suffix, model = TASKS[name]
    kind = "brackets" if suffix == "mrg" else suffix
    return {
        "name": name,
        "task": "tagging" if name == "entities" else name,
        "data": {
            split: {"kind": kind, "path": str(folder / f"{split}.{suffix}")}
            for split in ("train", "test")
        }
        | {"validation": {"kind": kind, "path": str(folder / f"train.{suffix}"), "limit": 20}},
        "lexicon": {"min_count": 1},
        "model": {
            "encoder": {"kind": "recurrent", "embedding": 16, "hidden": 16, "dropout": 0.0},
            "characters": {"embedding": 4, "filters": 4, "widths": [2]},
            **model,
        },
        "batching": {"tokens": 200},
        "optimizer": {"lr": 2e-2},
        "schedule": {"kind": "cosine", "warmup": 5},
        "training": {"steps": 120, "evaluate_every": 60, "checkpoint_every": 20, "threads": 1},
        **changes,
    }


@pytest.fixture(scope="module")
def runs(folder, tmp_path_factory):
    """Trained runs by name, made when they are asked for."""
    made = {}

    def get(name):
        if name not in made:
            path = tmp_path_factory.mktemp("runs") / name
            made[name], reason = train_recipe(parse_recipe(values(folder, name)), path)
            assert reason == "finished"
        return made[name]

    return get


FIGURES = {
    "tagging": {"accuracy", "f1_macro", "f1[NOUN]"},
    "entities": {"f1_micro", "f1_macro", "token_accuracy"},
    "dependency_parsing": {"uas", "las", "accuracy"},
    "constituency_parsing": {"f1_micro", "exact_match", "accuracy"},
}


@pytest.mark.parametrize("name", TASKS)
def test_unseen_pairs_of_words_are_understood(runs, name):
    run = runs(name)
    scores, examples = evaluate_run(run, peluche.load(str(run.path)))
    found = {one.metric: one.score for one in scores}
    assert found.keys() >= FIGURES[name]
    assert parse_recipe(run.config).scored() == found.keys()
    assert {metric: found[metric] for metric in FIGURES[name]} == dict.fromkeys(FIGURES[name], 100)
    assert all(one["reference"] == one["output"] for one in examples)
    assert any(event["event"] == "test" for event in run.events())
    save_examples(run, examples)
    page = write_report(run).read_text(encoding="utf-8")
    assert "likes" in page


@pytest.mark.parametrize("name", TASKS)
def test_batched_equals_one_by_one(runs, name):
    task = peluche.load(str(runs(name).path))
    given = [*[one.tokens for one in sentences(True)][:5], ["bears"], ["the", "bear"], ["a"] * 40]
    together = task.annotate(given)
    assert together == [task.annotate([tokens])[0] for tokens in given]


def test_sentences_of_any_length_are_tagged_and_of_some_length_parsed(runs):
    long = ["bear"] * 1001
    assert len(load_tagger(runs("tagging").path).annotate([long])[0].tags) == 1001
    for name in ("dependency_parsing", "constituency_parsing"):
        with pytest.raises(DataError, match="1,001 tokens") as caught:
            load_parser(runs(name).path).annotate([["the"], long])
        assert "sentence 2" in str(caught.value)


def test_trees_of_any_sentence_are_trees(runs):
    parser = load_parser(runs("dependency_parsing").path)
    for found in parser.annotate([["likes"] * 9, ["the"], ["Ünbekannt", "€", "bear"]]):
        check_tree(found.heads, "here")
        assert len(found.tags) == len(found.relations) == len(found.tokens)


def test_a_killed_run_resumes_to_the_same_weights(folder, runs, tmp_path):
    recipe = parse_recipe(values(folder, "dependency_parsing"))

    class Stop(Exception):
        pass

    class StopAt:
        def __getattr__(self, name):
            return lambda *arguments: None

        def step(self, event):
            if event.step == 33:
                raise Stop

    with pytest.raises(Stop):
        train_recipe(recipe, tmp_path / "run", hooks=[StopAt()])
    again, _ = resume_run(tmp_path / "run")
    whole = runs("dependency_parsing").load_weights()
    for name, tensor in again.load_weights().items():
        assert torch.equal(tensor, whole[name]), name


def test_a_tag_never_seen(folder, tmp_path):
    text = (folder / "test.conllu").read_text(encoding="utf-8").replace("NOUN", "NOUM")
    (tmp_path / "odd.conllu").write_text(text, encoding="utf-8")
    odd = {"kind": "conllu", "path": str(tmp_path / "odd.conllu")}
    data = values(folder, "tagging")["data"] | {"validation": odd}
    recipe = parse_recipe(values(folder, "tagging", data=data))
    with pytest.raises(DataError, match="'NOUM' was never seen") as caught:
        train_recipe(recipe, tmp_path / "run")
    assert "odd.conllu:1" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "lacks"),
    [("dependency_parsing", "no relations"), ("constituency_parsing", "no constituents")],
)
def test_sentences_without_what_the_task_needs(folder, tmp_path, name, lacks):
    source = {"kind": "conllu", "path": str(folder / "train.conllu"), "trees": False}
    recipe = values(folder, name, data={"train": source, "validation": source})
    with pytest.raises(DataError, match=lacks):
        train_recipe(parse_recipe(recipe), tmp_path / "run")


def test_what_a_task_is_asked_that_it_cannot_do(runs):
    with pytest.raises(ConfigError, match="made for tagging"):
        load_parser(runs("tagging").path)
    with pytest.raises(ConfigError, match="peluche tag"):
        load_classifier(runs("tagging").path)
    with pytest.raises(DataError, match="sentence 2"):
        load_tagger(runs("tagging").path).annotate([["a"], []])


def test_a_crf_that_keeps_to_its_scheme(folder, tmp_path):
    def recipe(scheme):
        source = {"kind": "conll", "path": str(tmp_path / "loose.conll"), "scheme": scheme}
        model = values(folder, "entities")["model"] | {"well_formed": True}
        data = {"train": source, "validation": source}
        return parse_recipe(
            values(folder, "entities", data=data, model=model, training={"steps": 2})
        )

    (tmp_path / "loose.conll").write_text("soft O\nteddy I-toy\nbear I-toy\n", encoding="utf-8")
    with pytest.raises(DataError, match="'soft teddy bear' are not well-formed") as caught:
        train_recipe(recipe(None), tmp_path / "refused")
    assert "loose.conll:1" in str(caught.value)
    run, _ = train_recipe(recipe("bioes"), tmp_path / "mended")
    tagger = load_tagger(run.path)
    assert list(tagger.coding.tags) == ["B-toy", "E-toy", "O"]
    for found in tagger.annotate([["bear"] * length for length in range(1, 9)]):
        assert convert_tags(found.tags, "bioes") == list(found.tags)
    with pytest.raises(ConfigError, match="well_formed needs crf"):
        parse_recipe(values(folder, "tagging", model={"well_formed": True}))


def test_measured_on_other_files(folder, runs, tmp_path):
    tagger = load_tagger(runs("entities").path)
    own = tagger.evaluate().scores(bootstrap=0)
    assert [one.metric for one in own][:3] == ["precision_micro", "recall_micro", "f1_micro"]
    text = (folder / "test.conll").read_text(encoding="utf-8").replace(" ", "\tX\t")
    (tmp_path / "other.txt").write_text(text, encoding="utf-8")
    again = tagger.evaluate(tmp_path / "other.txt", columns="0,2").scores(bootstrap=0)
    assert [one.score for one in again] == [one.score for one in own]
    parser = load_parser(runs("dependency_parsing").path)
    found = parser.evaluate(folder / "test.conllu", limit=5)
    assert len(found.examples) == 5
    with pytest.raises(DataError, match="the sentence has no heads"):
        parser.evaluate(folder / "test.conll")
    with pytest.raises(DataError, match="no such file: absent"):
        parser.evaluate("absent.conllu2")
    with pytest.raises(ConfigError, match="columns of a token and a tag"):
        tagger.evaluate(folder / "test.conll", columns="one,two")


def test_a_damaged_lexicon(folder, tmp_path):
    recipe = values(folder, "tagging")
    run, _ = train_recipe(parse_recipe(recipe | {"training": {"steps": 1}}), tmp_path / "run")
    (run.path / "lexicon.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError):
        peluche.load(str(run.path))


@pytest.mark.slow
def test_verbs(runs, command, tmp_path):
    def said(*words, text):
        finished = command(*words, input=text)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    text = "The bear likes a toy.\n\nA child sees the book.\n"
    tagger = str(runs("tagging").path)
    first, second = said("tag", tagger, "--json", text=text).splitlines()
    assert json.loads(first) == {
        "tokens": ["The", "bear", "likes", "a", "toy", "."],
        "tags": ["DET", "NOUN", "VERB", "DET", "NOUN", "PUNCT"],
    }
    assert json.loads(second)["tokens"][1] == "child"
    plain = said("tag", tagger, "--tokens", text="The bear .")
    assert plain == "The\tDET\nbear\tNOUN\n.\tPUNCT\n\n"

    parser = str(runs("dependency_parsing").path)
    picture = tmp_path / "tree.svg"
    found = said("parse", parser, "--json", "--picture", str(picture), text=text).splitlines()
    assert json.loads(found[0])["heads"] == [2, 3, 0, 5, 3, 3]
    assert json.loads(found[0])["relations"][1] == "nsubj"
    assert "nsubj" in picture.read_text(encoding="utf-8")
    (tmp_path / "out.conllu").write_text(said("parse", parser, text=text), encoding="utf-8")
    again = list(ConlluSentences(path=tmp_path / "out.conllu").read())
    assert [one.heads for one in again] == [[2, 3, 0, 5, 3, 3]] * 2

    brackets = said("parse", str(runs("constituency_parsing").path), text="The bear has a toy.")
    assert brackets == (
        "(S (NP (DET The) (NOUN bear)) (VP (VERB has) (NP (DET a) (NOUN toy))) (PUNCT .))\n"
    )
