"""Tasks measured on data of any kind: the same by every way, and what does not fit is refused."""

import json

import pytest
import torch
from typer.testing import CliRunner

import peluche
from peluche.cli.main import app
from peluche.data.packing import PackingConfig
from peluche.data.sources import source_like
from peluche.data.texts import PlainText
from peluche.errors import ConfigError, DataError
from peluche.hub.run import RunDirectory
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.models.recurrent_lm import RecurrentLMConfig
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.train import evaluate_run, train_recipe
from peluche.reporting.report import save_examples, write_report
from peluche.tasks.complete import Completer
from peluche.text.tokenizer import TokenizerConfig

ROWS = [
    f"{label}\ta {word} {thing}\n"
    for label, words in (("good", ("lovely", "soft")), ("bad", ("dull", "grim")))
    for word in words
    for thing in ("bear", "film", "book", "song")
]
FIRST = {"kind": "tsv", "text": 1, "label": 0}


def classifier_run(folder, name, **changes):
    values = {
        "name": name,
        "task": "classification",
        "data": {
            "train": {**FIRST, "path": str(folder / "train.tsv")},
            "validation": {**FIRST, "path": str(folder / "train.tsv"), "limit": 8},
        },
        "tokenizer": {"kind": "word"},
        "model": {"encoder": {"kind": "bag", "embedding": 16, "dropout": 0}, "pooling": "mean"},
        "optimizer": {"lr": 2e-2},
        "schedule": {"kind": "cosine", "warmup": 5},
        "training": {"steps": 30, "evaluate_every": 30, "checkpoint_every": 30, "threads": 1},
        **changes,
    }
    run, _ = train_recipe(parse_recipe(values), folder / name)
    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "train.tsv").write_text("".join(ROWS), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(folder):
    return classifier_run(folder, "tiny")


@pytest.fixture(scope="module")
def wide(folder):
    model = {"encoder": {"kind": "bag", "embedding": 4}, "pooling": "mean", "wide": {}}
    return classifier_run(folder, "wide", model=model)


@pytest.fixture(scope="module")
def translator(folder):
    model = {"kind": "encoder_decoder", "d_model": 16, "layers": 1, "heads": 2, "d_ff": 32}
    lines = ["a bear reads", "a cat sleeps", "two dogs"]
    run = RunDirectory.create(
        folder / "translator",
        {
            "model": model,
            "decoding": {"beams": 1, "kind": "greedy", "max_length_factor": 1.0},
            "data": {"train": {"kind": "tsv", "path": "absent.tsv", "columns": [1, 0]}},
            "evaluation": {"metrics": ["wer", "chrf"], "tokenize": "none"},
        },
    )
    tokenizer = TokenizerConfig(vocab_size=60).build(lines)
    run.save_tokenizer(tokenizer)
    torch.manual_seed(1)
    built = EncoderDecoderConfig.parse(model).build(len(tokenizer))
    run.save_weights(dict(built.state_dict()))
    return run


def test_without_a_name_it_is_the_runs_own_data(run):
    task = peluche.load(str(run.path))
    found = task.evaluate()
    assert len(found.examples) == 8
    scores, examples = evaluate_run(run, task)
    assert found.scores() == scores
    assert list(found.examples) == examples


def test_a_file_is_read_like_the_runs_own(run, folder):
    task = peluche.load(str(run.path))
    other = folder / "other.tsv"
    other.write_text("good\ta soft bear\nbad\ta dull bear\n\n", encoding="utf-8")
    said = []
    found = task.evaluate(other, say=said.append)
    assert [example["reference"] for example in found.examples] == ["good", "bad"]
    assert "skipped 1 example" in said[0]
    names = [score.metric for score in found.scores()]
    assert names[:6] == ["accuracy", "precision_macro", "recall_macro", "f1_macro", "nll", "ece"]
    assert found.scores()[0].score == 100


def test_paired_significance_of_two_runs(run, wide, folder):
    task, other = (peluche.load(str(one.path)) for one in (run, wide))
    examples = list(task.source([str(folder / "train.tsv")]).read())
    found = task.measure(examples).against(other.measure(examples), ("tiny", "wide"))
    accuracy = found[0]
    assert (accuracy.metric, accuracy.baseline, accuracy.system) == ("accuracy", "wide", "tiny")
    assert accuracy.difference == pytest.approx(accuracy.score - accuracy.baseline_score)
    with pytest.raises(DataError, match="was measured on 16 segments"):
        task.measure(examples).against(other.measure(examples[:4]))


def test_a_run_with_ngrams_is_loaded_as_it_was_trained(wide):
    task = peluche.load(str(wide.path))
    assert task.model.wide is not None
    assert task.model.wide.ratios.abs().sum() > 0
    assert task.evaluate().scores()[0].score == 100


def test_unknown_labels_and_missing_texts_have_a_place(run, folder):
    task = peluche.load(str(run.path))
    bad = folder / "bad.tsv"
    bad.write_text("good\tsoft\nodd\tstrange\n", encoding="utf-8")
    with pytest.raises(DataError, match="the label 'odd' was never seen in training") as caught:
        task.evaluate(bad)
    assert "bad.tsv:2" in str(caught.value)
    bad.write_text("good\t \n\n", encoding="utf-8")
    with pytest.raises(DataError, match="none of 2 examples is left"):
        task.evaluate(bad)
    bad.write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="the corpus is empty"):
        task.evaluate(bad)
    task.pairs = True
    with pytest.raises(DataError, match="judges pairs of texts") as caught:
        task.evaluate(folder / "train.tsv")
    assert "train.tsv:1" in str(caught.value)


@pytest.mark.parametrize(
    ("train", "validation", "message"),
    [
        ("good\ta\nbad\tb\n", "odd\tc\n", "the label 'odd' was never seen in training"),
        ("good\ta\ngood\tb\n", "good\tc\n", "all texts have the label 'good'"),
        ("good\ta\nbad\tb\n", "\n", "none of 1 examples is left"),
    ],
)
def test_label_sets_that_do_not_fit_stop_before_training(tmp_path, train, validation, message):
    (tmp_path / "train.tsv").write_text(train, encoding="utf-8")
    (tmp_path / "validation.tsv").write_text(validation, encoding="utf-8")
    data = {
        part: {**FIRST, "path": str(tmp_path / f"{part}.tsv")} for part in ("train", "validation")
    }
    with pytest.raises(DataError, match=message):
        classifier_run(tmp_path, "tiny", data=data)


def test_a_label_of_training_need_not_be_in_validation(tmp_path):
    (tmp_path / "train.tsv").write_text("good\ta\nbad\tb\nodd\tc\n", encoding="utf-8")
    (tmp_path / "v.tsv").write_text("good\ta\n", encoding="utf-8")
    data = {
        "train": {**FIRST, "path": str(tmp_path / "train.tsv")},
        "validation": {**FIRST, "path": str(tmp_path / "v.tsv")},
    }
    run = classifier_run(tmp_path, "tiny", data=data)
    assert "f1[odd]" in {score.metric for score in peluche.load(str(run.path)).evaluate().scores()}


def test_the_report_draws_the_confusions(run):
    _, examples = evaluate_run(run, peluche.load(str(run.path)))
    save_examples(run, examples)
    page = write_report(run).read_text(encoding="utf-8")
    assert "What is taken for what" in page
    assert "data:image/svg+xml;base64," in page


def test_a_translator_has_the_metrics_and_columns_of_its_recipe(translator, folder):
    pairs = folder / "pairs.tsv"
    pairs.write_text("un ours\ta bear reads\n\tempty\nun chat\ta cat\n", encoding="utf-8")
    task = peluche.load(str(translator.path))
    found = task.evaluate(pairs)
    assert [score.metric for score in found.scores()] == ["wer", "chrf"]
    assert "tok:none" in found.scores()[0].signature
    assert [example["source"] for example in found.examples] == ["a bear reads", "a cat"]
    found = task.evaluate(pairs, columns="0,1", limit=1)
    assert [example["source"] for example in found.examples] == ["un ours"]
    with pytest.raises(ConfigError, match="names no test or validation data"):
        task.evaluate()


def test_pairs_are_read_like_a_runs_own():
    tok = {"kind": "catalogue", "name": "multi30k", "languages": ["de", "fr"], "variant": "tok"}
    tok |= {"split": "validation", "limit": 5}
    same = source_like(["multi30k"], tok)
    assert (same.languages, same.variant, same.split) == (("de", "fr"), "tok", "validation")
    assert same.limit is None
    assert source_like([], tok).limit == 5
    assert source_like([], tok, languages="en-fr").languages == ("en", "fr")
    assert source_like(["multi30k"], tok, split="test").split == "test"
    other = source_like(["tatoeba-en-fr"], tok | {"languages": ["fr", "en"]})
    assert (other.languages, other.variant, other.split) == (("fr", "en"), None, "train")
    assert source_like(["a.tsv"], {"kind": "tsv", "columns": [1, 0]}).columns == (1, 0)
    assert source_like(["a.tsv"], {"kind": "jsonl", "fields": ["a", "b"]}).columns == (0, 1)


@pytest.mark.parametrize("options", [["--against", "LM"], ["--baselines"], ["--picture", "a.png"]])
def test_what_cannot_be_compared_is_refused_before_anything_is_measured(
    run, folder, monkeypatch, options
):
    """Of a classifier and a language model; of a language model."""
    values = {
        "name": "lm",
        "task": "language_modelling",
        "data": {"train": {"path": str(folder / "train.tsv")}},
        "tokenizer": {"kind": "byte"},
        "model": {"kind": "recurrent_lm", "embedding": 4, "hidden": 4},
        "batching": {"length": 16},
        "training": {"steps": 1, "threads": 1},
    }
    values["data"]["validation"] = values["data"]["train"]
    path = folder / "lm"
    if not path.exists():
        train_recipe(parse_recipe(values), path)

    def measured(*arguments):
        raise AssertionError("something was measured")

    monkeypatch.setattr("peluche.tasks.classify.TextClassifier.measure", measured)
    monkeypatch.setattr("peluche.tasks.complete.Completer.measure", measured)
    arguments = [str(path) if option == "LM" else option for option in options]
    model = run.path if "LM" in options else path
    found = CliRunner().invoke(app, ["evaluate", str(model), *arguments])
    assert isinstance(found.exception, ConfigError), found.exception


def test_texts_that_two_models_cut_differently_are_refused():
    texts = [PlainText("the cat", "a.txt")]
    models = []
    for kind in ("byte", "character"):
        tokenizer = TokenizerConfig(kind=kind).build(["the cat"])
        model = RecurrentLMConfig(embedding=4, hidden=4).build(len(tokenizer))
        models.append(Completer(model, tokenizer, PackingConfig(length=16)))
    with pytest.raises(ConfigError, match="different rows"):
        models[0].check_against(models[1], texts)
    models[0].check_against(models[1], texts * 2)


def test_the_verb(run, wide, folder, command):
    options = (folder / "train.tsv", "--against", wide.path, "--baselines")
    picture = folder / "c.svg"
    result = command("evaluate", run.path, *options, "--picture", picture)
    assert result.returncode == 0, result.stderr
    assert picture.read_bytes().startswith(b"<?xml")
    scores, tests = result.stdout.split("\n\n")
    assert scores.splitlines()[1].split()[:2] == ["accuracy", "100.00"]
    assert "16 examples" in result.stderr
    beside = {row.split("  ")[0] for row in tests.splitlines()[1:]}
    assert beside == {"majority", "logistic regression", "NB-SVM", str(wide.path)}


def test_the_verb_for_programs(run, folder, command):
    result = command("evaluate", run.path, folder / "train.tsv", "--baselines", "--json", "-n", "6")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert rows[0]["metric"] == "accuracy"
    tests = [row for row in rows if "baseline" in row]
    assert {test["baseline"] for test in tests} == {"majority", "logistic regression", "NB-SVM"}
    assert {"difference", "ci", "p_value"} <= tests[0].keys()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--baselines", "--bootstrap", "0"], 2, "needs resamples"),
        (["absent.tsv"], 3, "no such file"),
        (["--picture", "c.jpg"], 2, "in .svg, .png"),
        (["multi30k"], 2, "gives pairs, not texts"),
        (["--languages", "en-fr"], 2, "unknown key 'languages'"),
    ],
)
def test_the_verb_refuses_clearly(run, command, options, code, message):
    result = command("evaluate", run.path, *options)
    assert (result.returncode, result.stdout) == (code, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_baselines_are_for_classifiers(translator, folder, command):
    pairs = folder / "some.tsv"
    pairs.write_text("un ours\ta bear\n", encoding="utf-8")
    result = command("evaluate", translator.path, pairs, "--baselines")
    assert result.returncode == 2
    assert "baselines for classifiers and summarisers alone" in result.stderr
