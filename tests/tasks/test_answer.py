"""From questions about texts to answers, by every way a person would take."""

import itertools
import json

import pytest
import torch

import peluche
from peluche.data.answering import AnsweringConfig
from peluche.errors import ConfigError, DataError
from peluche.models.answerer import SpanScores
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.train import train_recipe
from peluche.tasks.answer import best_spans
from peluche.tasks.load import load_answerer, load_classifier

WHO, WHAT = ["king", "old cat", "bear"], ["crown", "red mouse", "book"]


def squad(path, unanswerable=False):
    paragraphs = []
    for (one, other), (first, second) in itertools.product(
        itertools.permutations(WHO, 2), itertools.permutations(WHAT, 2)
    ):
        context = f"the {one} has the {first} and the {other} sees the {second}"
        asked = [(f"who has the {first}", one), (f"who sees the {second}", other)]
        if unanswerable:
            asked.append((f"who sees the {first}", None))
        qas = [
            {
                "id": f"{len(paragraphs)}-{n}",
                "question": question,
                "answers": [{"text": answer, "answer_start": context.index(answer)}]
                if answer
                else [],
                "is_impossible": answer is None,
            }
            for n, (question, answer) in enumerate(asked)
        ]
        paragraphs.append({"context": context, "qas": qas})
    path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}), encoding="utf-8")
    return path


def recipe(path, **changes):
    source = {"path": str(path)}
    return parse_recipe(
        {
            "name": "tiny",
            "task": "question_answering",
            "data": {"train": source, "validation": source},
            "tokenizer": {"kind": "word"},
            "model": {
                "encoder": {"kind": "recurrent", "embedding": 24, "hidden": 24, "dropout": 0.0},
                "dropout": 0.0,
            },
            "batching": {"tokens": 400, "max_length": 30},
            "optimizer": {"lr": 1e-2},
            "schedule": {"kind": "cosine", "warmup": 5},
            "training": {"steps": 150, "evaluate_every": 150, "threads": 1},
            **changes,
        }
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    plain, _ = train_recipe(recipe(squad(folder / "1.json")), folder / "plain")
    answering = {"unanswerable": True, "stride": 3}
    path = squad(folder / "2.json", unanswerable=True)
    model = recipe(path).model_dump(mode="json")["model"]
    model["encoder"]["layers"] = 2
    training = {"steps": 400, "evaluate_every": 400, "threads": 1}
    null, _ = train_recipe(
        recipe(path, answering=answering, model=model, training=training), folder / "null"
    )
    return {"plain": plain, "null": null}


def test_it_learns_to_answer(runs):
    answerer = load_answerer(runs["plain"].path)
    context = "the bear has the crown and the old cat sees the book"
    one, other = answerer.answer(["who has the crown", "who sees the book"], [context] * 2)
    assert (one.answer, one.start, one.end) == ("bear", 4, 8)
    assert other.answer == context[other.start : other.end] == "old cat"
    scores = {one.metric: one.score for one in answerer.evaluate().scores(bootstrap=0)}
    assert scores == {"exact_match": 100, "f1": 100}
    assert parse_recipe(runs["plain"].config).scored() == set(scores)
    events = [event for event in runs["plain"].events() if event["event"] == "evaluate"]
    assert events[-1]["f1"] == 100


def test_it_learns_when_not_to_answer(runs):
    answerer = load_answerer(runs["null"].path)
    scores = {one.metric: one.score for one in answerer.evaluate().scores(bootstrap=0)}
    assert scores["f1[answerable]"] > 95
    assert scores["f1[unanswerable]"] > 95
    question, context = "who sees the crown", "the bear has the crown and the king sees the book"
    (found,) = answerer.answer([question], [context])
    assert (found.answer, found.start, found.end) == ("", 0, 0)
    assert found.score < 0
    answerer.config = AnsweringConfig(unanswerable=True, threshold=1 - found.score)
    assert answerer.answer([question], [context])[0].answer != ""


def test_windows_do_not_change_what_fits_into_one(runs):
    answerer = load_answerer(runs["plain"].path)
    context = "the bear has the crown and the king sees the book"
    whole = answerer.answer(["who has the crown"], [context])
    together = answerer.answer(["who has the crown", "who sees the book"] * 5, [context] * 10)
    assert together[0].answer == whole[0].answer
    assert together[0].score == pytest.approx(whole[0].score, abs=1e-4)
    answerer.max_length = 14
    (found,) = answerer.answer(["who has the crown"], [context])
    assert context[found.start : found.end] == found.answer != ""


@pytest.mark.parametrize("longest", [1, 3, 20])
def test_the_best_piece_by_brute_force(longest):
    generator = torch.Generator().manual_seed(longest)
    starts, ends = torch.randn(2, 6, 9, generator=generator)
    starts[:, 7:] = ends[:, 7:] = -torch.inf
    for row, (first, last, score) in enumerate(best_spans(SpanScores(starts, ends), longest)):
        pieces = {
            (i, j): float(starts[row, i] + ends[row, j])
            for i in range(1, 7)
            for j in range(i, min(7, i + longest))
        }
        assert (first, last) == max(pieces, key=pieces.__getitem__)
        assert score == pytest.approx(pieces[first, last])


def test_a_text_without_words_has_no_answer(runs):
    (found,) = load_answerer(runs["plain"].path).answer(["who has the crown"], [""])
    assert found.answer == ""


@pytest.mark.slow
def test_the_verb(runs, command, tmp_path):
    def answer(*arguments, text=None):
        return command("answer", runs["plain"].path, *arguments, input=text)

    context = "the bear has the crown and the king sees the book"
    lines = [{"question": "who has the crown", "context": context}]
    done = answer("--json", text=json.dumps(lines[0]) + "\n")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answer"] == "bear"
    (tmp_path / "text.txt").write_text(context)
    done = answer("who sees the book", "--context", str(tmp_path / "text.txt"))
    assert done.stdout == "king\n"
    done = answer("who sees the book")
    assert done.returncode == 2
    assert "a question needs its text" in done.stderr


def test_what_does_not_fit_is_refused(runs, tmp_path):
    answerer = peluche.load(runs["plain"].path)
    for line in ("[]", "{", '{"question": "who"}', '{"question": 1, "context": "a"}'):
        with pytest.raises(DataError, match="line 2") as caught:
            list(answerer.stream(['{"question": "who", "context": "bear"}', line]))
        assert '"context"' in str(caught.value)
    with pytest.raises(ConfigError, match="peluche answer"):
        load_classifier(runs["plain"].path)
    path = squad(tmp_path / "2.json", unanswerable=True)
    with pytest.raises(DataError, match="no answer") as caught:
        train_recipe(recipe(path), tmp_path / "run")
    assert "answering.unanswerable=true" in str(caught.value)
