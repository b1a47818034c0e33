"""Labelled texts out of tables, lines and folders, and their bad input."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from peluche.config import parse_as
from peluche.data.labelled import LabelledText, TextSource
from peluche.data.selection import SkipReport
from peluche.errors import ConfigError, DataError


def source(**values):
    return parse_as(TextSource, values, where="the source")


def write(tmp_path, name, text, encoding="utf-8"):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def texts(**values):
    return [example[:2] for example in source(**values).read()]


def test_tsv_with_names_for_labels(tmp_path):
    path = write(tmp_path, "t.tsv", "a soft bear\t1\na dull film\t0\n")
    found = list(source(kind="tsv", path=path, names={"0": "bad", "1": "good"}).read())
    assert found == [
        LabelledText("a soft bear", "good", "t.tsv:1"),
        LabelledText("a dull film", "bad", "t.tsv:2"),
    ]


def test_csv_with_quotes_and_joined_columns(tmp_path):
    path = write(tmp_path, "t.csv", '3,"Bears, again","They say ""hi""\nand leave"\n1,Cats,Sleep\n')
    assert texts(kind="csv", path=path, text=[1, 2], label=0) == [
        ('Bears, again They say "hi"\nand leave', "3"),
        ("Cats Sleep", "1"),
    ]
    places = [example.where for example in source(kind="csv", path=path, text=1, label=0).read()]
    assert places == ["t.csv:1", "t.csv:3"]


def test_pairs_of_texts_by_header(tmp_path):
    path = write(
        tmp_path,
        "mnli.tsv",
        "index\tsentence1\tsentence2\tgold_label\n7\tA bear reads.\tIt can read.\tentailment\n",
    )
    values = {
        "kind": "tsv",
        "path": path,
        "text": "sentence1",
        "second": "sentence2",
        "label": "gold_label",
    }
    assert list(source(**values).read()) == [
        LabelledText("A bear reads.", "entailment", "mnli.tsv:2", "It can read.")
    ]


def test_jsonl_labels_may_be_numbers(tmp_path):
    path = write(tmp_path, "t.jsonl", '{"text": "soft", "label": 1}\n{"text": "x", "label": "a"}\n')
    assert texts(kind="jsonl", path=path, text="text", label="label") == [("soft", "1"), ("x", "a")]


def test_label_first(tmp_path):
    path = write(tmp_path, "trec.txt", "NUM:date When is caf\xe9 ?\nHUM Who ?\n", "latin-1")
    values = {"kind": "label_first", "path": path, "encoding": "latin-1"}
    assert texts(**values) == [("When is caf\xe9 ?", "NUM:date"), ("Who ?", "HUM")]
    assert texts(**values, coarse=True)[0][1] == "NUM"
    path = write(tmp_path, "fast.txt", "__label__good soft bear\n")
    values = {"kind": "label_first", "path": path, "prefix": "__label__"}
    assert texts(**values) == [("soft bear", "good")]


def test_folders(tmp_path):
    write(tmp_path, "neg/1.txt", "dull\nfilm")
    write(tmp_path, "pos/2.txt", "soft bear")
    write(tmp_path, "pos/notes.pdf", "")
    assert texts(kind="folders", path=tmp_path) == [("dull\nfilm", "neg"), ("soft bear", "pos")]


def test_files_of_lines_of_one_label(tmp_path):
    files = {
        "en": write(tmp_path, "a.en", "a bear\na cat\n"),
        "fr": write(tmp_path, "a.fr", "ours"),
    }
    found = list(source(kind="lines", files=files).read())
    assert [(example.label, example.text, example.where) for example in found] == [
        ("en", "a bear", "a.en:1"),
        ("en", "a cat", "a.en:2"),
        ("fr", "ours", "a.fr:1"),
    ]


def test_languages_of_aligned_files(tmp_path, monkeypatch):
    monkeypatch.setenv("PELUCHE_DATA", str(tmp_path))
    for language in ("en", "de", "fr", "cs"):
        write(tmp_path, f"multi30k/val.{language}.gz", f"{language} one\n{language} two\n")
    values = {"kind": "languages", "name": "multi30k", "split": "validation"}
    assert {label for _, label in texts(**values)} == {"en", "de", "fr", "cs"}
    assert texts(**values, languages=["cs"]) == [("cs one", "cs"), ("cs two", "cs")]
    with pytest.raises(ConfigError, match="no file for each language"):
        source(kind="languages", name="tatoeba-en-fr")
    with pytest.raises(ConfigError, match="no language 'xx' here"):
        source(**values, languages=["xx"])


def test_several_sources_together(tmp_path):
    one = {"kind": "tsv", "path": write(tmp_path, "a.tsv", "soft\t1\ndull\t0\n"), "limit": 1}
    other = {"kind": "csv", "path": write(tmp_path, "b.csv", "grim,bad\n"), "names": {"bad": "0"}}
    values = {"kind": "together", "sources": [one, other, one]}
    assert texts(**values, names={"0": "bad"}) == [("soft", "1"), ("grim", "bad"), ("soft", "1")]
    with pytest.raises(ConfigError, match="at least 1 item"):
        source(kind="together", sources=[])


@given(cut=st.floats(0.05, 0.95))
def test_slices_part_the_texts(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("slices")
    path = write(folder, "t.tsv", "".join(f"text {n}\t{n % 2}\n" for n in range(200)))
    parts = [
        {text for text, _ in texts(kind="tsv", path=path, slice=piece)}
        for piece in ((0, cut), (cut, 1))
    ]
    assert not parts[0] & parts[1]
    assert len(parts[0] | parts[1]) == 200


def test_empty_texts_are_counted(tmp_path):
    path = write(tmp_path, "t.tsv", "a\t1\n\n \t0\nb\t1\n")
    skipped = SkipReport()
    assert len(list(source(kind="tsv", path=path).read(skipped))) == 2
    assert skipped.empty == 2
    assert skipped.first == "t.tsv:2"
    with pytest.raises(DataError, match="a text of the example is empty") as caught:
        list(source(kind="tsv", path=path, empty="error").read())
    assert "t.tsv:2" in str(caught.value)


@pytest.mark.parametrize(
    ("values", "name", "content", "message"),
    [
        ({"kind": "tsv"}, "t.tsv", "no label here\n", "1 of the 2 columns"),
        ({"kind": "tsv"}, "t.tsv", "text\t \n", "no label"),
        ({"kind": "tsv"}, "t.tsv", "", "the corpus is empty"),
        ({"kind": "csv"}, "t.csv", 'a,1\n"open,2\n', "not valid CSV"),
        ({"kind": "csv", "text": "body", "label": "class"}, "t.csv", "text,class\n", "no column"),
        ({"kind": "label_first", "prefix": "__label__"}, "t.txt", "good film\n", "does not begin"),
        ({"kind": "jsonl", "text": "t", "label": "l"}, "t.jsonl", '{"t": "a"}\n', "no field 'l'"),
        ({"kind": "jsonl", "text": "t", "label": "l"}, "t.jsonl", '{"t": 1, "l": 2}', "not text"),
    ],
)
def test_bad_files_say_what_is_wrong(tmp_path, values, name, content, message):
    path = write(tmp_path, name, content)
    with pytest.raises(DataError, match=message):
        list(source(path=path, **values).read())


def test_bad_folders_say_what_is_wrong(tmp_path):
    with pytest.raises(DataError, match="holds no folders"):
        list(source(kind="folders", path=tmp_path).read())
    with pytest.raises(DataError, match="there is no folder"):
        list(source(kind="folders", path=tmp_path / "none").read())


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "tsv", "path": "t", "text": 0, "label": "label"},
        {"kind": "jsonl", "path": "t"},
        {"kind": "tsv", "path": "t", "slice": [0.5, 0.5]},
        {"kind": "tsv", "path": "t", "encoding": "utf8x"},
    ],
)
def test_impossible_sources_are_refused(values):
    with pytest.raises(ConfigError):
        source(**values)


def test_there_is_a_schema():
    assert TypeAdapter(TextSource).json_schema()["discriminator"]["propertyName"] == "kind"
