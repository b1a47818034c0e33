"""Batch files: records in order or as they come, errors alone, and going on after a kill."""

import json

import pytest

import peluche
from peluche.errors import DataError
from peluche.tasks.batch import records_done, run_batch
from talking import make_run

LINES = [
    json.dumps({"prompt": "What", "max_tokens": 9, "id": "a"}),
    "not JSON",
    json.dumps({"prompt": "is", "temperature": 0, "logprobs": 1, "id": 7}),
    json.dumps({"prompt": "the", "temprature": 1}),
    json.dumps(["prompt"]),
    json.dumps({"max_tokens": 3}),
    json.dumps({"prompt": "bear", "stop": ["e"], "seed": 9, "max_tokens": 2}),
    json.dumps({"prompt": "reading", "max_tokens": 0}),
]
DEFAULTS = {"max_tokens": 5, "seed": 3}


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    path = make_run(tmp_path_factory.mktemp("runs") / "tiny")
    return peluche.load(str(path)).generator


@pytest.fixture(scope="module")
def records(generator):
    return list(run_batch(generator, LINES, DEFAULTS))


def test_one_record_a_line_in_order(generator, records):
    assert [record["index"] for record in records] == list(range(len(LINES)))
    assert [record.get("id") for record in records] == ["a", None, 7, *[None] * 5]
    failed = [record["index"] for record in records if record["finish_reason"] == "error"]
    assert failed == [1, 3, 4, 5, 7]
    assert all(("error" in record) == (record["index"] in failed) for record in records)
    keys = set(records[0]) - {"id"}
    assert all(set(record) - {"id", "error", "logprobs"} == keys for record in records)
    assert [records[index]["prompt"] for index in failed] == [None, "the", None, None, "reading"]
    assert "temprature" in records[3]["error"]
    assert len(records[2]["logprobs"]) == records[2]["completion_tokens"] <= 5
    # Each as alone; a line's number tells equal seeds apart.
    for index in (0, 2, 6):
        values = {"stream": index, **DEFAULTS, **json.loads(LINES[index])}
        values.pop("id", None)
        (alone,) = generator.generate([values.pop("prompt")], **values)
        assert records[index]["completion"] == alone.text


HUGE = "1" + "0" * 400


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (r'{"prompt": "\ud800"}', "half a character"),
        (r'{"prompt": "is", "id": "\udcff"}', "half a character"),
        ("[" * 200_000, "nested too deep"),
        (f'{{"prompt": [{HUGE}]}}', "prompt"),
        (f'{{"prompt": "is", "top_k": {HUGE}}}', "top_k"),
        ('{"prompt": "is", "id": ' + "[" * 900 + "]" * 900 + ', "top_k": "x"}', ""),
    ],
)
def test_no_line_stops_the_others(generator, line, says):
    lines = [LINES[0], line, LINES[2]]
    found = list(run_batch(generator, lines, DEFAULTS))
    assert [record["finish_reason"] == "error" for record in found] == [False, True, False]
    assert says in found[1]["error"]
    assert json.loads(json.dumps(found, ensure_ascii=False).encode()) == found


@pytest.mark.parametrize("line", ["What is", '["prompt"]', '"prompt"'])
def test_a_file_of_something_else_is_refused_as_a_whole(generator, line):
    with pytest.raises(DataError, match="not one JSON object a line"):
        list(run_batch(generator, [line] * 3, DEFAULTS))


def test_as_they_are_done(generator, records):
    lines = [json.dumps({"prompt": "is", "max_tokens": 60 - 9 * number}) for number in range(6)]
    ignoring = {**DEFAULTS, "ignore_eos": True}
    found = list(run_batch(generator, lines, ignoring, ordered=False))
    assert [record["index"] for record in found] == [5, 4, 3, 2, 1, 0]
    ordered = list(run_batch(generator, lines, ignoring))
    assert ordered == sorted(found, key=lambda record: record["index"])


def test_more_requests_than_run_at_once(generator):
    lines = [json.dumps({"prompt": "is", "max_tokens": 1 + number % 3}) for number in range(150)]
    found = list(run_batch(generator, iter(lines), DEFAULTS))
    assert [record["index"] for record in found] == list(range(150))
    assert all(record["completion_tokens"] <= 3 for record in found)


@pytest.mark.parametrize("ordered", [True, False])
def test_what_was_killed_goes_on(generator, records, tmp_path, ordered):
    path = tmp_path / "out.jsonl"
    assert records_done(path) == {}
    kept = records[:2] if ordered else [records[4], records[0]]
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in kept)
    torn = json.dumps(records[2])[:-9]
    path.write_text(text + torn, encoding="utf-8")
    done = records_done(path)
    assert done == {one["index"]: (one.get("prompt"), "error" in one) for one in kept}
    assert path.read_text(encoding="utf-8") == text
    rest = list(run_batch(generator, LINES, DEFAULTS, done=done, ordered=ordered))
    assert len(rest) == len(LINES) - 2
    everything = sorted([*kept, *rest], key=lambda record: record["index"])
    for found, expected in zip(everything, records, strict=True):
        for key in ("completion", "finish_reason", "error"):
            assert found.get(key) == expected.get(key)


@pytest.mark.parametrize("ordered", [True, False])
def test_blank_lines_have_no_record(generator, ordered):
    lines = ["", LINES[0], "  ", LINES[2], "\n"]
    found = list(run_batch(generator, lines, DEFAULTS, ordered=ordered))
    assert sorted(record["index"] for record in found) == [1, 3]
    assert all("error" not in record for record in found)


@pytest.mark.parametrize(
    "lines", [[*LINES[:2], LINES[6]], ["", *LINES[1:3]], ["nonsense", *LINES[1:3]], LINES[:2]]
)
def test_records_of_other_lines_are_not_gone_on_with(generator, records, tmp_path, lines):
    path = tmp_path / "out.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records[:3]))
    done = records_done(path)
    assert list(run_batch(generator, LINES[:3], DEFAULTS, done=done)) == []
    with pytest.raises(DataError, match="another request"):
        list(run_batch(generator, lines, DEFAULTS, done=done))


def test_another_file_is_not_touched(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("dear diary\nmore")
    with pytest.raises(DataError, match="not the output of a batch"):
        records_done(path)
    assert path.read_text() == "dear diary\nmore"
    with pytest.raises(DataError, match="cannot be read"):
        records_done(tmp_path)


@pytest.mark.parametrize("text", ['{"prompt": "a"}', "dear diary", '{"index": 0}\n{"indices": 1'])
def test_an_end_that_is_no_torn_record_is_not_cut_off(tmp_path, text):
    path = tmp_path / "in.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match="not the output of a batch"):
        records_done(path)
    assert path.read_text() == text
