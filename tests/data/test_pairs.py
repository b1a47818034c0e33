"""Pairs out of aligned files, TSV and JSON Lines; selection; and the errors of each."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peluche.data.pairs import Pair, aligned_pairs, jsonl_pairs, table_pairs
from peluche.data.selection import Selection, SkipReport, position
from peluche.errors import DataError


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def refusal(pairs: object) -> DataError:
    with pytest.raises(DataError) as caught:
        list(pairs)
    return caught.value


def test_aligned_files(tmp_path: Path) -> None:
    source = write(tmp_path / "train.en", "a bear\r\na\u2028b\n")
    target = tmp_path / "train.fr.gz"
    target.write_bytes(gzip.compress(b"un ours\nc\n"))
    assert list(aligned_pairs(source, target)) == [
        Pair("a bear", "un ours", "train.en:1"),
        Pair("a\u2028b", "c", "train.en:2"),
    ]


@pytest.mark.parametrize("longer", ["en", "fr"])
def test_unequal_line_counts(tmp_path: Path, longer: str) -> None:
    shorter = {"en": "fr", "fr": "en"}[longer]
    files = {longer: tmp_path / f"train.{longer}", shorter: tmp_path / f"train.{shorter}"}
    write(files[longer], "x\n" * 7)
    write(files[shorter], "x\n" * 4)
    error = refusal(aligned_pairs(files["en"], files["fr"]))
    assert f"train.{longer} has 7 lines" in error.what
    assert f"train.{shorter} has 4 lines" in error.what
    assert error.where == f"train.{longer}:5 is the first line without a counterpart"


def test_tsv_by_number_and_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "id\ten\tfr\n1\tbear\tours\n\n2\tcat\tchat\textra\n")
    assert list(table_pairs(path, ["fr", "en"])) == [
        Pair("ours", "bear", "a.tsv:2"),
        Pair("", "", "a.tsv:3"),
        Pair("chat", "cat", "a.tsv:4"),
    ]
    assert next(table_pairs(path, [1, 2])) == Pair("en", "fr", "a.tsv:1")
    assert '"' in next(table_pairs(write(tmp_path / "b.tsv", 'a "quote\tb\n'))).source


def test_tsv_row_with_too_few_columns(tmp_path: Path) -> None:
    error = refusal(table_pairs(write(tmp_path / "a.tsv", "a\tb\na b\n"), [0, 1]))
    assert error.what == "the row has 1 of the 2 columns that are needed"
    assert error.where == "a.tsv:2"


def test_tsv_header_without_the_column(tmp_path: Path) -> None:
    error = refusal(
        table_pairs(write(tmp_path / "a.tsv", "english\tfrench\n"), ["english", "frnch"])
    )
    assert "no column 'frnch'" in error.what
    assert "did you mean 'french'?" in str(error)


def test_jsonl(tmp_path: Path) -> None:
    lines = [
        json.dumps({"translation": {"en": "a\nb", "fr": "\u2028"}}),
        '{"translation": {"en": "\\ud83e\\uddf8", "fr": "ours"}}',
    ]
    path = write(tmp_path / "a.jsonl", lines[0] + "\n\n" + lines[1] + "\n")
    assert list(jsonl_pairs(path, ["translation.en", "translation.fr"])) == [
        Pair("a\nb", "\u2028", "a.jsonl:1"),
        Pair("", "", "a.jsonl:2"),
        Pair("\U0001f9f8", "ours", "a.jsonl:3"),
    ]


@pytest.mark.parametrize(
    ("line", "what", "where"),
    [
        ('{"source": "a", target: "b"}', "not valid JSON", "a.jsonl:2, column 17"),
        ("[" * 100_000, "nested too deeply", "a.jsonl:2"),
        ('["a", "b"]', "a JSON list, not an object", "a.jsonl:2"),
        ('{"source": "a", "target": 3}', "field 'target' is a number, not text", "a.jsonl:2"),
        ('{"source": null, "target": ""}', "field 'source' is a null, not text", "a.jsonl:2"),
        ('{"source": "\\ud83e", "target": "b"}', "half of a character", "a.jsonl:2"),
        ("{}", "the object has no field 'source'", "a.jsonl:2"),
    ],
)
def test_jsonl_lines_that_cannot_be_used(tmp_path: Path, line: str, what: str, where: str) -> None:
    path = write(tmp_path / "a.jsonl", f'{{"source": "a", "target": "b"}}\n{line}\n')
    error = refusal(jsonl_pairs(path))
    assert what in error.what
    assert error.where == where


def test_jsonl_missing_field_suggests_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"source": "a", "targets": "b"}\n')
    assert "did you mean 'targets'?" in str(refusal(jsonl_pairs(path)))


PAIRS = [
    Pair("a", "b", "x:1"),
    Pair("", "b", "x:2"),
    Pair("a", " \t", "x:3"),
    Pair("c", "d", "x:4"),
]


def test_empty_lines_are_skipped_and_counted() -> None:
    report = SkipReport()
    assert [pair.where for pair in Selection().select(PAIRS, report)] == ["x:1", "x:4"]
    assert (report.empty, report.first) == (2, "x:2")
    assert str(report) == "skipped 2 examples with an empty text (the first: x:2)"


def test_empty_lines_can_be_kept_or_refused() -> None:
    assert list(Selection(empty="keep").select(PAIRS)) == PAIRS
    error = refusal(Selection(empty="error").select(PAIRS))
    assert error.where == "x:2"


def test_empty_corpus() -> None:
    assert "the corpus is empty" in refusal(Selection().select([])).what
    error = refusal(Selection().select(PAIRS[1:3]))
    assert error.what == "none of 2 examples is left to use"
    assert "skipped 2 examples" in str(error)


def test_limit_stops_reading() -> None:
    def endless() -> object:
        while True:
            yield Pair("a", "b", "")

    assert len(list(Selection(limit=3).select(endless()))) == 3


@given(st.lists(st.text(min_size=1), min_size=1), st.floats(0.05, 0.95))
def test_slices_part_the_source_sentences(texts: list[str], cut: float) -> None:
    pairs = [Pair(text, str(n), "") for n, text in enumerate(texts)]

    def part(low: float, high: float) -> list[Pair]:
        return [pair for pair in pairs if low <= position(pair.source) < high]

    first, second = part(0, cut), part(cut, 1)
    assert sorted(first + second) == sorted(pairs)
    assert not {pair.source for pair in first} & {pair.source for pair in second}


def test_position_is_the_same_on_every_machine_and_ignores_case_and_punctuation() -> None:
    assert position("A cute teddy bear is reading.") == 0.5862820880170894
    assert position("Run!") == position("run .")
    assert position("Run!") != position("Runs!")
    assert position("?!") != position("!!!")
    assert position("Run!", salt="other") != position("Run!")


def test_a_slice_has_the_size_it_should() -> None:
    pairs = [Pair(f"sentence {n}", "x", "") for n in range(20_000)]
    assert len(list(Selection(slice=(0.2, 0.3)).select(pairs))) == pytest.approx(2000, rel=0.1)
