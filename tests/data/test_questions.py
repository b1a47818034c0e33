"""Files in SQuAD's format, windows of their texts, and where answers are in them."""

import json

import numpy as np
import pytest

from peluche.data.answering import AnsweringConfig, PassageWindow, cut_passages, span_of
from peluche.data.corpora import describe_corpus, shown
from peluche.data.questions import Answer, SquadQuestions, questions_from
from peluche.errors import ConfigError, DataError
from peluche.text.tokenizer import TokenizerConfig

CONTEXT = "The teddy bear, born in 1902, reads a good book in the old forest by the sea."


def write(path, *questions, context=CONTEXT):
    qas = [
        {"id": f"q{number}", "question": asked, "answers": [{"text": text, "answer_start": start}]}
        for number, (asked, text, start) in enumerate(questions)
    ]
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": context, "qas": qas}]}]}))
    return path


def test_a_file_is_read(tmp_path):
    path = write(tmp_path / "a.json", ("When?", "1902", 24), ("What?", "a good book", 36))
    first, second = SquadQuestions(path=path).read()
    assert first == ("When?", CONTEXT, (Answer("1902", 24),), "a.json, question q0", "q0")
    assert CONTEXT[36 : 36 + 11] == second.answers[0].text
    assert len(list(questions_from([str(path)], {}, limit=1).read())) == 1
    assert questions_from([], {"path": str(path)}).path == path


def test_slices_share_no_text(tmp_path):
    paragraphs = [
        {
            "context": f"Bear {number} sleeps.",
            "qas": [
                {
                    "id": f"{number}-{asked}",
                    "question": f"{asked}?",
                    "answers": [{"text": "Bear", "answer_start": 0}],
                }
                for asked in ("Who", "What", "Which")
            ],
        }
        for number in range(40)
    ]
    (tmp_path / "a.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    halves = [
        list(SquadQuestions(path=tmp_path / "a.json", slice=part).read())
        for part in ((0, 0.5), (0.5, 1))
    ]
    assert sum(map(len, halves)) == 120
    first, second = ({one.context for one in half} for half in halves)
    assert first
    assert second
    assert not first & second


def test_a_corpus_of_questions_is_described(tmp_path):
    path = write(tmp_path / "a.json", ("When?", "1902", 24), ("What?", "a good book", 36))
    questions = list(SquadQuestions(path=path).read())
    assert shown(questions[0]) == [CONTEXT, "When?"]
    found, _ = describe_corpus(questions)
    assert (found["pairs"], found["repeated_sources"], found["repeated_targets"]) == (2, 1, 0)


def test_questions_without_answer(tmp_path):
    entry = {"id": 7, "question": "Why?", "answers": [], "is_impossible": True}
    data = {"data": [{"paragraphs": [{"context": CONTEXT, "qas": [entry]}]}]}
    (tmp_path / "a.json").write_text(json.dumps(data))
    (question,) = SquadQuestions(path=tmp_path / "a.json").read()
    assert question.answers == ()
    entry["is_impossible"] = False
    (tmp_path / "a.json").write_text(json.dumps(data))
    with pytest.raises(DataError, match="no answer") as caught:
        list(SquadQuestions(path=tmp_path / "a.json").read())
    assert "question 7" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "not a file of SQuAD"),
        ("{", "not a file of SQuAD"),
        ('{"data": [{"paragraphs": [{"qas": [{}]}]}]}', "lacks 'context'"),
        ('{"data": 3}', "not a file of SQuAD"),
        ('{"data": []}', "the corpus is empty"),
    ],
)
def test_other_files_are_refused(tmp_path, text, said):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=said):
        list(SquadQuestions(path=tmp_path / "a.json").read())


def test_answers_that_are_not_there_are_refused(tmp_path):
    path = write(tmp_path / "a.json", ("When?", "1902", 23))
    with pytest.raises(DataError, match="'1902' does not stand at character 23"):
        list(SquadQuestions(path=path).read())
    with pytest.raises(DataError, match="no such file"):
        list(SquadQuestions(path=tmp_path / "absent.json").read())
    with pytest.raises(DataError, match="2 names"):
        questions_from(["a", "b"], {})
    with pytest.raises(ConfigError, match="columns"):
        questions_from(["a"], {}, columns="0,1")


@pytest.fixture(params=["word", "wordpiece", "bpe", "byte"])
def tokenizer(request):
    return TokenizerConfig(kind=request.param, vocab_size=400).build([CONTEXT, "What is it?"] * 3)


@pytest.mark.parametrize(("limit", "stride"), [(400, 128), (24, 5), (24, 100)])
def test_windows_cover_the_text_and_answers_are_found_in_them(tokenizer, limit, stride):
    config = AnsweringConfig(stride=stride, max_question=6)
    passages = cut_passages(["What is it?"], [CONTEXT], tokenizer, limit, config)
    whole = tokenizer.pieces(CONTEXT)
    seen = {piece for passage in passages for piece in passage.pieces}
    assert seen == set(whole)
    assert all(len(passage.ids) <= limit for passage in passages)
    for passage in passages:
        expected = [passage.pieces[n].id for n in range(len(passage.pieces))]
        assert passage.ids[passage.first : -1] == expected
        assert passage.ids[-1] == tokenizer.eos_id
        assert passage.ids[: passage.first] == tokenizer.around(tokenizer.encode("What is it?")[:6])
    if len(passages) > 1:
        begins = [passage.pieces[0].start for passage in passages]
        assert begins == sorted(begins)
    for text in ("1902", "The", "a good book", "sea", "book in"):
        answer = Answer(text, CONTEXT.index(text))
        spans = [span_of(passage, answer) for passage in passages]
        for passage, (first, last) in zip(passages, spans, strict=True):
            inside = passage.pieces[-1].end >= answer.start + len(text)
            inside &= passage.pieces[0].start <= answer.start
            assert (first > 0) == inside
            if inside:
                start = passage.pieces[first - passage.first].start
                end = passage.pieces[last - passage.first].end
                assert text in CONTEXT[start:end]
                assert len(CONTEXT[start:end].strip(" ,.")) <= len(text) + 1
        assert span_of(passages[0], None) == (0, 0)
    if limit == 400:
        assert len(passages) == 1


def test_batches_say_where_an_answer_may_be(tokenizer):
    config = AnsweringConfig(stride=4, max_question=4)
    passages = cut_passages(["What?", "is it"], [CONTEXT, "reads"], tokenizer, 20, config)
    window = PassageWindow(passages, [(0, 0)] * len(passages))
    batch = window.batch(np.arange(len(passages)))
    for row, passage in enumerate(passages):
        places = batch.allowed[row].nonzero()[:, 0].tolist()
        text = range(passage.first, passage.first + len(passage.pieces))
        assert places == [0, *text]
        assert batch.valid[row].sum() == len(passage.ids)
        assert batch.segments[row].nonzero()[:, 0].tolist() == [*text, text.stop]


def test_a_question_that_leaves_no_room_is_refused(tokenizer):
    with pytest.raises(ConfigError, match="leaves no room"):
        cut_passages(["What is it?"], [CONTEXT], tokenizer, 5, AnsweringConfig(max_question=6))
