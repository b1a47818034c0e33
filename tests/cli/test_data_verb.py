"""`peluche data`: what each of its verbs prints, and that it fails clearly."""

import json
import socket
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from peluche.cli.data import register
from peluche.data.catalogue import find_entry
from peluche.errors import ConfigError, DataError, DownloadError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in an empty folder, with no corpora but those put there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PELUCHE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PELUCHE_DATA", raising=False)
    (tmp_path / "a.en").write_text("a bear\n\na cat\na bear\n", encoding="utf-8")
    (tmp_path / "a.fr").write_text("un ours\nvide\nun chat\nun ours\n", encoding="utf-8")
    return tmp_path


def run(*arguments, catch_exceptions=False):
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    return CliRunner().invoke(app, ["data", *arguments], catch_exceptions=catch_exceptions)


def objects(*arguments):
    return [json.loads(line) for line in run(*arguments, "--json").stdout.splitlines()]


def test_list():
    header, builtin, multi30k, tatoeba, *others = run("list").stdout.splitlines()
    assert header.split()[:2] == ["name", "what"]
    assert "built in" in builtin
    assert "non-commercial" in multi30k
    assert "0 of 22" in multi30k
    assert "142,787 pairs" in tatoeba
    assert any("wnut17" in row and "4,403 sentences" in row for row in others)


def test_list_sees_what_is_here(folder, monkeypatch):
    monkeypatch.setenv("PELUCHE_DATA", str(folder))
    (folder / "multi30k").mkdir()
    (folder / "multi30k" / "val.en.gz").touch()
    assert [row["files_here"] for row in objects("list")][:3] == [0, 1, 0]


def test_show():
    result = run("show", "a.en", "a.fr", "-n", "2")
    assert result.stdout == "a.en:1\n  a bear\n  un ours\na.en:3\n  a cat\n  un chat\n"
    assert result.stderr == "skipped 1 example with an empty text (the first: a.en:2)\n"


def test_show_as_json():
    shown = objects("show", "a.en", "a.fr", "-n", "1")
    assert shown == [{"source": "a bear", "target": "un ours", "where": "a.en:1"}]


def test_show_with_columns_and_encoding(folder):
    (folder / "a.tsv").write_text("ours\tx\tbear\nété\tx\tsummer\n", encoding="latin-1")
    shown = objects("show", "a.tsv", "--columns", "2,0", "--encoding", "latin-1")
    assert [(pair["source"], pair["target"]) for pair in shown] == [
        ("bear", "ours"),
        ("summer", "été"),
    ]


def test_show_a_split_of_a_catalogue_entry(folder, monkeypatch):
    monkeypatch.setenv("PELUCHE_DATA", str(folder))
    (folder / "multi30k" / "tok").mkdir(parents=True)
    for language, text in (("de", "ein bär"), ("fr", "un ours")):
        path = folder / "multi30k" / "tok" / f"val.lc.norm.tok.{language}"
        path.write_text(f"{text}\n", encoding="utf-8")
    options = ("--split", "validation", "--languages", "fr-de", "--variant", "tok")
    (pair,) = objects("show", "multi30k", *options)
    assert (pair["source"], pair["target"]) == ("un ours", "ein bär")


def test_show_the_builtin_corpus():
    assert len(objects("show", "builtin", "-n", "3", "--split", "test")) == 3


@pytest.mark.parametrize(
    ("name", "file", "content", "lines", "labels"),
    [
        ("sst2", "train.tsv", "a soft bear\t1\n", ["[positive]", "a soft bear"], {"positive": 1}),
        (
            "wnut17",
            "train.conll",
            "in\tO\nParis\tB-location\n",
            ["in/O Paris/B-location"],
            {"O": 1, "B-location": 1},
        ),
        (
            "ud-english-ewt",
            "en_ewt-ud-train.conllu",
            "1\tHi\t_\tINTJ\t_\t_\t0\troot\t_\t_\n",
            ["Hi/INTJ", "root:0"],
            {"INTJ": 1},
        ),
        ("word-similarity", "EN-WS-353-ALL.txt", "tiger\tcat\t7.3\n", ["tiger\tcat\t7.3"], {}),
    ],
)
def test_show_and_stats_of_every_kind(folder, monkeypatch, name, file, content, lines, labels):
    monkeypatch.setenv("PELUCHE_DATA", str(folder))
    (folder / name).mkdir()
    (folder / name / file).write_text(content, encoding="utf-8")
    place, *rest = run("show", name).stdout.splitlines()
    assert place == f"{file}:1"
    assert [line.strip(" ") for line in rest] == lines
    (found,) = objects("stats", name)
    assert (found["examples"], found["labels"]) == (1, labels)
    assert ["examples", "1"] in [row.split() for row in run("stats", name).stdout.splitlines()]


def test_show_trees(folder):
    (folder / "a.mrg").write_text("(S (NP-SBJ (PRP I)) (VP (VBP am)))", encoding="utf-8")
    assert objects("show", "a.mrg") == [
        {"tree": "(S (NP (PRP I)) (VP (VBP am)))", "where": "a.mrg:1"}
    ]
    assert objects("stats", "a.mrg")[0]["labels"] == {"S": 1, "NP": 1, "VP": 1}


def test_options_for_pairs_alone():
    with pytest.raises(ConfigError, match="has no languages"):
        run("show", "sst2", "--languages", "en-fr")


def test_stats_count_texts_with_two_labels(folder, monkeypatch):
    monkeypatch.setenv("PELUCHE_DATA", str(folder))
    (folder / "sst2").mkdir()
    (folder / "sst2" / "dev.tsv").write_text("soft\t1\nsoft\t0\nsoft\t1\n", encoding="utf-8")
    (found,) = objects("stats", "sst2", "--split", "validation")
    assert (found["examples"], found["duplicates"], found["contradictions"]) == (3, 2, 1)


def test_stats():
    (found,) = objects("stats", "a.en", "a.fr")
    assert (found["pairs"], found["duplicates"], found["source"]["empty"]) == (4, 1, 1)
    rows = run("stats", "a.en", "a.fr").stdout.splitlines()
    assert rows[0].split() == ["pairs", "4"]
    assert ["words", "6", "7"] in [row.split() for row in rows]


def test_stats_of_a_very_long_line(folder):
    (folder / "a.en").write_text("word " * 100_000 + "\nb\n", encoding="utf-8")
    (folder / "a.fr").write_text("mot\nb\n", encoding="utf-8")
    assert "words per line, max               100,000" in run("stats", "a.en", "a.fr").stdout


def test_unequal_files_stop_with_the_place():
    Path("a.fr").write_text("un ours\n", encoding="utf-8")
    with pytest.raises(DataError, match="not aligned"):
        run("stats", "a.en", "a.fr")


def test_get_checks_what_is_here(folder):
    entry = find_entry("tatoeba-en-fr")
    there = folder / "there" / "tatoeba-en-fr" / entry.files[0].path
    there.parent.mkdir(parents=True)
    there.touch()
    result = run("get", "tatoeba-en-fr", "--to", str(folder / "there"))
    assert result.stdout == f"{there} (here; no SHA-256 to check by)\n"
    assert "CC BY 2.0" in result.stderr
    assert "@misc{tatoeba" in result.stderr


def test_get_refuses_a_wrong_file(folder):
    there = folder / "there" / "multi30k" / find_entry("multi30k").files[0].path
    there.parent.mkdir(parents=True)
    there.touch()
    with pytest.raises(DownloadError, match="the file is not upstream's"):
        run("get", "multi30k", "--to", str(folder / "there"))


def test_get_says_the_size_first_and_uses_the_mirror():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        mirror = f"http://127.0.0.1:{unused.getsockname()[1]}"
    result = run("get", "multi30k", "--mirror", mirror, catch_exceptions=True)
    assert "22 files, 11.1 MB in all" in result.stderr
    assert isinstance(result.exception, DownloadError)
    assert result.exception.where == f"{mirror}/raw/train.en.gz"


def test_clean(folder):
    (folder / "a.jsonl").write_text('{"body": "a bear"}\n' * 3, encoding="utf-8")
    result = run("clean", "a.jsonl", "out.jsonl", "--column", "body")
    assert Path("out.jsonl").read_text(encoding="utf-8") == (
        '{"text": "a bear", "where": "a.jsonl:1"}\n'
    )
    rows = {row.split("  ")[0]: row.split() for row in result.stdout.splitlines()}
    assert rows["exact duplicate"][2:6] == ["2", "66.67%", "12", "bytes"]
    assert "out.report.json" in result.stderr
    (report,) = objects("clean", "a.jsonl", "out.jsonl", "--column", "body", "--no-exact")
    assert report["kept"]["documents"] == 3
    with pytest.raises(ConfigError, match="there is no rule 'x'"):
        run("clean", "a.jsonl", "out.jsonl", "--rules", "x")


def test_clean_keeps_evaluation_sets_out(folder):
    question = "how many bears sleep in the cave when winter comes and goes again"
    (folder / "test.jsonl").write_text(json.dumps({"question": question}), encoding="utf-8")
    (folder / "a.txt").write_text(f"he asked: {question}?\nnothing of it\n", encoding="utf-8")
    options = ("--kind", "lines", "--against", "test.jsonl", "--against-column", "question")
    (report,) = objects("clean", "a.txt", "out.jsonl", *options)
    assert report["dropped"]["contamination"]["documents"] == 1


def test_plain_texts_are_shown_and_measured(folder):
    result = run("show", "a.en", "-n", "2")
    assert result.stdout == "a.en:1\n  a bear\na.en:3\n  a cat\n"
    (found,) = objects("stats", "a.en")
    assert (found["examples"], found["duplicates"], found["text"]["words"]) == (4, 1, 6)
    assert "labels" not in run("stats", "a.en").stdout
    (shown, *_) = objects("show", "a.en")
    assert shown == {"text": "a bear", "where": "a.en:1"}
    assert run("show", "a.*").stdout.count("bear") == 2
    with pytest.raises(ConfigError, match="has no languages"):
        run("show", "a.en", "--languages", "en-fr")
    with pytest.raises(DataError, match="is called 'b\\.en'"):
        run("show", "b.en")
