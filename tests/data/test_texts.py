"""Sources of plain texts: whole and in parts they give the same, and bad ones are named."""

import gzip
import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peluche.config import parse_as
from peluche.data.readers import read_lines
from peluche.data.selection import SkipReport
from peluche.data.text_sources import CorpusSource, PlainTextSource, plain_texts, sample
from peluche.data.texts import text_file
from peluche.errors import ConfigError, DataError, MissingExtraError


def source(**values):
    return parse_as(PlainTextSource, values, where="here")


def texts(found):
    return [text.text for text in found]


def in_parts(found, size):
    skipped = SkipReport()
    return [text for parts in found.plan(size) for text in texts(found.read_parts(parts, skipped))]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.text(alphabet="aé\u2028\r ", max_size=6), max_size=12),
    st.booleans(),
    st.lists(st.integers(0, 60), max_size=5),
)
def test_stretches_of_a_file_are_its_lines(tmp_path_factory, lines, ends_with_newline, cuts):
    path = tmp_path_factory.mktemp("lines") / "file"
    path.write_bytes(("\n".join(lines) + "\n" * ends_with_newline).encode())
    size = path.stat().st_size
    bounds = sorted({0, size, *(cut for cut in cuts if cut < size)})
    found = [line for piece in pairwise(bounds) for line in read_lines(path, stretch=piece)]
    assert found == list(read_lines(path))


@pytest.mark.parametrize("size", [1, 10, 100, 10**6])
@pytest.mark.parametrize("kind", ["lines", "jsonl", "csv", "document"])
def test_parts_give_the_same(tmp_path, kind, size):
    for number in range(4):
        rows = [f"text {number} {row}" for row in range(9)]
        if kind == "jsonl":
            rows = [f'{{"text": "{row}"}}' for row in rows]
        elif kind == "csv":
            rows = ["text", *rows]
        content = "".join(f"{row}\n" for row in rows).encode()
        name = f"{number}.txt" if number else "0.txt.gz"
        (tmp_path / name).write_bytes(content if number else gzip.compress(content))
    found = source(kind=kind, path=tmp_path / "*.txt*")
    assert in_parts(found, size) == texts(found.read())
    assert len(texts(found.read())) == (4 if kind == "document" else 36)
    groups = len(found.plan(size))
    assert groups == 1 if size == 10**6 else groups >= 4
    limited = source(kind=kind, path=tmp_path / "*.txt*", limit=3)
    assert in_parts(limited, size) == texts(found.read())[:3]


def test_utf_16_is_not_cut(tmp_path):
    (tmp_path / "a.txt").write_text("été\n" * 50, encoding="utf-16")
    found = source(path=tmp_path / "a.txt", encoding="utf-16")
    assert len(found.plan(20)) == 1
    assert in_parts(found, 20) == ["été"] * 50


def test_the_place_of_an_error_is_counted_from_the_beginning_of_the_file(tmp_path):
    lines = ['{"text": "good"}'] * 100
    lines[70] = '{"other": "bad"}'
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = source(kind="jsonl", path=tmp_path / "a.jsonl")
    with pytest.raises(DataError, match="use one of: other") as error:
        in_parts(found, 100)
    assert error.value.where == "a.jsonl:71"


def test_patterns(tmp_path, monkeypatch):
    monkeypatch.setenv("PELUCHE_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "mine" / "deep").mkdir(parents=True)
    for name in ("mine/b.txt", "mine/a.txt", "mine/deep/c.txt"):
        (tmp_path / "data" / name).write_text(f"{name}\n", encoding="utf-8")
    assert texts(source(path="mine/*.txt").read()) == ["mine/a.txt", "mine/b.txt"]
    assert len(texts(source(path="mine/**/*.txt").read())) == 3
    (tmp_path / "odd[1].txt").write_text("x\n", encoding="utf-8")
    assert texts(source(path=tmp_path / "odd[1].txt").read()) == ["x"]
    with pytest.raises(DataError, match="no file fits"):
        list(source(path=tmp_path / "*.none").read())


@pytest.mark.parametrize("stop", [10, -4])
def test_a_truncated_gzip(tmp_path, stop):
    content = gzip.compress(b'{"text": "a bear"}\n' * 100)
    (tmp_path / "a.jsonl.gz").write_bytes(content[:stop])
    with pytest.raises(DataError, match="truncated") as error:
        in_parts(source(kind="jsonl", path=tmp_path / "*.gz"), 10)
    assert error.value.where.startswith("a.jsonl.gz:")


def test_a_folder_of_code(tmp_path):
    def put(name, content):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)

    put("b/main.py", b"print(1)\n")
    put("a.py", b"x = '\xc3\xa9'\r\n")
    put("a.md", b"# a\n")
    put(".git/config.py", b"hidden")
    put("node_modules/x.py", b"others'")
    put("data.py", b"\0\1")
    put("latin.py", b"caf\xe9")
    put("large.py", b"#" * 200)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link.py").symlink_to(tmp_path / "a.py")
    skipped = SkipReport()
    found = source(kind="code", path=tmp_path, include=["*.py"], max_bytes=100)
    read = list(found.read(skipped))
    assert [(text.where, text.text) for text in read] == [
        ("a.py", "x = 'é'\r\n"),
        ("b/main.py", "print(1)\n"),
    ]
    assert skipped.empty == 2
    assert in_parts(found, 5) == texts(read)
    with pytest.raises(DataError, match=r"no file in the folder fits \*.rs"):
        source(kind="code", path=tmp_path, include=["*.rs"]).plan()
    with pytest.raises(DataError, match="there is no folder"):
        source(kind="code", path=tmp_path / "none").plan()


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"body": [f"text {n}" for n in range(50)] + [None], "n": list(range(51))})
    for name in "ab":
        parquet.write_table(table, tmp_path / f"{name}.parquet", row_group_size=10)
    found = source(kind="parquet", path=tmp_path / "*.parquet", text="body")
    skipped = SkipReport()
    read = list(found.read(skipped))
    assert texts(read) == [f"text {n}" for n in range(50)] * 2
    assert read[-1].where == "b.parquet, row 49"
    assert skipped.empty == 2
    for size in (1, 300, 10**6):
        assert in_parts(found, size) == texts(read)
    assert len(found.plan(1)) == 12
    assert len(found.plan(10**6)) == 1
    one = found.plan(1)[2]
    assert next(found.read_parts(one, skipped)).where == "a.parquet, row 20"
    with pytest.raises(DataError, match="no column 'text'") as error:
        source(kind="parquet", path=tmp_path / "a.parquet").plan()
    assert "body, n" in str(error.value)
    with pytest.raises(DataError, match="is of type int64, not text"):
        source(kind="parquet", path=tmp_path / "a.parquet", text="n").plan()
    content = (tmp_path / "a.parquet").read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"not a table"):
        (tmp_path / "c.parquet").write_bytes(damaged)
        with pytest.raises(DataError, match="not a Parquet file, or a damaged one"):
            in_parts(source(kind="parquet", path=tmp_path / "c.parquet", text="body"), 1)
    broken = bytearray(content)
    broken[20:120] = b"\xff" * 100
    (tmp_path / "c.parquet").write_bytes(broken)
    with pytest.raises(DataError, match="damaged"):
        in_parts(source(kind="parquet", path=tmp_path / "c.parquet", text="body"), 1)
    with pytest.raises(DataError, match="no such file"):
        source(kind="parquet", path=tmp_path / "none.parquet").plan()


def test_a_hugging_face_data_set(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    rows = {"body": [f"text {n}" for n in range(40)], "n": list(range(40))}
    whole = datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows)})
    whole.save_to_disk(tmp_path / "saved")
    found = source(kind="huggingface", name=str(tmp_path / "saved"), text="body")
    assert texts(found.read()) == rows["body"]
    assert len(found.plan(100)) > 2
    assert in_parts(found, 100) == rows["body"]
    assert found.state() == found.state()
    with pytest.raises(DataError, match="no column 'text'") as error:
        source(kind="huggingface", name=str(tmp_path / "saved")).plan()
    assert "body, n" in str(error.value)
    with pytest.raises(DataError, match="is of type int64"):
        source(kind="huggingface", name=str(tmp_path / "saved"), text="n").plan()
    with pytest.raises(DataError, match="no split 'test'"):
        source(kind="huggingface", name=str(tmp_path / "saved"), split="test").plan()
    with pytest.raises(DataError, match="cannot be read"):
        source(kind="huggingface", name=str(tmp_path / "nowhere")).plan()


@pytest.mark.parametrize(
    ("kind", "package", "values"),
    [("parquet", "pyarrow", {"path": "a.parquet"}), ("huggingface", "datasets", {"name": "x"})],
)
def test_what_is_not_installed(monkeypatch, kind, package, values):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=f"needs {package}"):
        source(kind=kind, **values).plan()


def test_a_vocabulary_is_learnt_from_every_part_and_source(tmp_path):
    for name in "abc":
        (tmp_path / name).write_text(f"{name * 9}\n" * 100, encoding="utf-8")
    sources = [
        {"weight": 2, "source": {"path": str(tmp_path / "[ab]")}},
        {"weight": 1, "source": {"path": str(tmp_path / "c")}},
    ]
    mixture = parse_as(CorpusSource, {"kind": "mixture", "sources": sources})
    assert len(list(sample(mixture, None))) == 300
    found = list(sample(mixture, 270))
    assert found == ["a" * 9] * 20 + ["c" * 9] * 10
    with pytest.raises(ConfigError, match="greater than 0"):
        parse_as(CorpusSource, {"kind": "mixture", "sources": [{**sources[0], "weight": 0}]})


def test_digits_are_the_place_of_a_column_and_the_name_of_a_field(tmp_path):
    (tmp_path / "a.csv").write_text('3,"a title",a text\n', encoding="utf-8")
    assert texts(plain_texts(str(tmp_path / "a.csv"), text="2").read()) == ["a text"]
    (tmp_path / "a.jsonl").write_text('{"2": "a text"}\n', encoding="utf-8")
    assert texts(plain_texts(str(tmp_path / "a.jsonl"), text="2").read()) == ["a text"]


def test_what_a_command_line_names(tmp_path):
    assert plain_texts("x/*.jsonl.gz").kind == "jsonl"
    assert plain_texts("x.parquet", text="body").text == "body"
    assert text_file("x.parquet", {"kind": "parquet", "text": "body"})["text"] == "body"
    assert text_file("x.parquet", {"kind": "lines"}) == {"kind": "parquet", "path": "x.parquet"}
    assert plain_texts("hf:imdb", split="test").name == "imdb"
    assert plain_texts(str(tmp_path)).kind == "code"
    assert plain_texts("x.txt", kind="lines").kind == "lines"
    with pytest.raises(ConfigError, match="unknown key 'split'"):
        plain_texts("x.jsonl", split="test")
