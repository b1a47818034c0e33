from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from peluche.cli.tokenize import register
from peluche.errors import CheckpointError, ConfigError, DataError
from peluche.text.tokenizer import TokenizerConfig

SENTENCE = "A cute teddy bear is reading."
LINES = [SENTENCE, "Un ours en peluche mignon lit.", "L'ours lit-il ?"] * 10
KINDS = ["word", "character", "byte", "bpe", "wordpiece", "unigram"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    (tmp_path / "latin").write_text("\n".join(["été"] * 10), encoding="latin-1")
    TokenizerConfig(kind="word").build(LINES).save(tmp_path / "run" / "tokenizer.json")
    return tmp_path


def run(*arguments: str, stdin: str | None = None) -> Any:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, arguments, input=stdin, catch_exceptions=False)


def objects(*arguments: str, stdin: str | None = None) -> list[dict[str, Any]]:
    output = run(*arguments, "--json", stdin=stdin).stdout
    return [json.loads(line) for line in output.splitlines()]


def test_every_kind_on_the_builtin_corpus() -> None:
    output = run(SENTENCE).stdout
    assert [line.split()[0] for line in output.splitlines() if "entries" in line] == KINDS
    assert "\x1b" not in output
    assert output == run(SENTENCE).stdout


def test_json_for_text() -> None:
    found = objects(SENTENCE, "--kind", "byte", "--kind", "character")
    assert [item["kind"] for item in found] == ["byte", "character"]
    for item in found:
        assert item["text"] == SENTENCE
        assert "".join(piece["text"] for piece in item["pieces"]) == SENTENCE


def test_each_line_of_standard_input(folder: Path) -> None:
    found = objects("--tokenizer", "run", stdin="L'ours lit.\nL'ours\n")
    assert [item["text"] for item in found] == ["L'ours lit.", "L'ours"]
    assert [piece["text"] for piece in found[1]["pieces"]] == ["▁L'", "ours"]


@pytest.mark.parametrize("path", ["run", "run/tokenizer.json"])
def test_one_tokenizer(folder: Path, path: str) -> None:
    output = run("--tokenizer", path, "A red bear").stdout
    assert "▁A ⟨▁red⟩ ▁bear" in output
    assert output.count("entries") == 1


def test_corpus_gives_a_table(folder: Path) -> None:
    output = run("--corpus", "corpus", "--vocab-size", "120").stdout
    assert [line.split()[0] for line in output.splitlines()[3:]] == KINDS


def test_figures_as_json(folder: Path) -> None:
    corpora = ("--corpus", "corpus", "--corpus", "corpus")
    word, byte = objects(*corpora, "--kind", "word", "--kind", "byte")
    assert word["texts"] == byte["texts"] == len(LINES) * 2 // 10
    assert word["unknown"] == 0
    assert byte["vocab_size"] == 260
    assert byte["characters_per_token"] <= 1


def test_corpus_and_text_show_both(folder: Path) -> None:
    output = run("--corpus", "corpus", "--kind", "word", "A bear").stdout
    assert "tokens/word" in output
    assert "▁A ▁bear" in output


def test_lowercase(folder: Path) -> None:
    (item,) = objects("--corpus", "corpus", "--kind", "word", "--lowercase", "A BEAR")[1:]
    assert [piece["unknown"] for piece in item["pieces"]] == [False, False]


def test_encoding(folder: Path) -> None:
    (row,) = objects("--corpus", "latin", "--kind", "character", "--encoding", "latin-1")
    assert row["vocab_size"] == 4 + 2
    with pytest.raises(DataError, match="utf-8"):
        run("--corpus", "latin")


def test_what_cannot_be_done(folder: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        run("--corpus", "missing")
    with pytest.raises(CheckpointError, match="no tokenizer"):
        run("--tokenizer", "missing", "text")
    with pytest.raises(ConfigError, match="kind"):
        run("--kind", "syllable", "text")
    with pytest.raises(ConfigError, match="at least"):
        run("--kind", "bpe", "--vocab-size", "10", "text")
    (folder / "short").write_text("one line\n")
    with pytest.raises(DataError, match="too few"):
        run("--corpus", "short")
    refused = run("--tokenizer", "run", "--kind", "bpe", "text")
    assert refused.exit_code == 2
    assert "learnt already" in refused.stderr
