"""Source configurations: what they accept, refuse and read."""

import gzip
import json
from pathlib import Path

import pytest

from peluche.config import parse_as
from peluche.data.selection import position
from peluche.data.sources import (
    BuiltinSource,
    CatalogueSource,
    JsonlSource,
    LinesSource,
    SkipReport,
    Source,
    TsvSource,
    source_from,
)
from peluche.errors import ConfigError, DataError


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One tiny corpus in every format, in the current directory."""
    pairs = [("a bear", "un ours"), ("", "vide"), ("the cat", "le chat")]
    (tmp_path / "a.en").write_text("".join(f"{en}\n" for en, _ in pairs))
    (tmp_path / "a.fr").write_text("".join(f"{fr}\n" for _, fr in pairs))
    table = "".join(f"{en}\t{fr}\n" for en, fr in pairs)
    quoted = "".join(f'"{en}","{fr}"\n' for en, fr in pairs)
    (tmp_path / "a.csv").write_text(quoted)
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(table.encode()))
    records = [json.dumps({"source": en, "target": fr}) + "\n" for en, fr in pairs]
    (tmp_path / "a.jsonl").write_text("".join(records))
    monkeypatch.chdir(tmp_path)
    return tmp_path


KINDS = [
    {"kind": "lines", "source": "a.en", "target": "a.fr"},
    {"kind": "tsv", "path": "a.tsv.gz"},
    {"kind": "csv", "path": "a.csv"},
    {"kind": "jsonl", "path": "a.jsonl"},
]


@pytest.mark.parametrize("values", KINDS, ids=lambda values: values["kind"])
def test_every_kind_reads_the_same_pairs(corpus: Path, values: dict[str, object]) -> None:
    source = parse_as(Source, values)
    report = SkipReport()
    pairs = list(source.read(report))
    assert [(pair.source, pair.target) for pair in pairs] == [
        ("a bear", "un ours"),
        ("the cat", "le chat"),
    ]
    assert [pair.where.rpartition(":")[2] for pair in pairs] == ["1", "3"]
    assert report.empty == 1
    assert list(source.read()) == pairs  # a source can be read again
    assert parse_as(Source, source.model_dump()) == source


def test_options_of_selection(corpus: Path) -> None:
    def read(**options: object) -> list[str]:
        return [pair.source for pair in LinesSource(source="a.en", target="a.fr", **options).read()]

    assert read(empty="keep") == ["a bear", "", "the cat"]
    assert read(limit=1) == ["a bear"]
    low, high = sorted([position("a bear"), position("the cat")])
    parts = read(slice=(0, (low + high) / 2)), read(slice=((low + high) / 2, 1))
    assert sorted(parts) == [["a bear"], ["the cat"]]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "tsv", "path": "a", "encoding": "utf9"}, "did you mean 'utf-8'?"),
        ({"kind": "tsv", "path": "a", "slice": [0.5, 0.5]}, "0 <= from < to <= 1"),
        ({"kind": "tsv", "path": "a", "slice": [0, 2]}, "0 <= from < to <= 1"),
        ({"kind": "tsv", "path": "a", "columns": [-1, 0]}, "counted from 0"),
        ({"kind": "tsv", "path": "a", "columns": [0, "fr"]}, "counted from 0"),
        ({"kind": "tsv", "path": "a", "colums": [0, 1]}, "did you mean 'columns'?"),
        ({"kind": "tsv", "path": "a", "limit": 0}, "greater than 0"),
        ({"kind": "lines", "source": "a"}, "missing key 'target'"),
        ({"kind": "tvs", "path": "a"}, "'tsv'"),
        ({"kind": "builtin", "split": "val"}, "'validation'"),
        (
            {"kind": "catalogue", "name": "multi30", "languages": ["en", "fr"]},
            "did you mean 'multi30k'?",
        ),
        (
            {"kind": "catalogue", "name": "multi30k", "languages": ["en", "it"]},
            "no language 'it' here; use one of: cs, de, en, fr",
        ),
        (
            {"kind": "catalogue", "name": "multi30k", "languages": ["en", "cs"], "split": "test"},
            "no language 'cs' here",
        ),
        (
            {"kind": "catalogue", "name": "multi30k", "languages": ["en", "fr"], "split": "tests"},
            "did you mean 'test'?",
        ),
        (
            {"kind": "catalogue", "name": "multi30k", "languages": ["en", "fr"], "variant": "toc"},
            "did you mean 'tok'?",
        ),
    ],
)
def test_configurations_that_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_as(Source, values)
    assert message in str(caught.value)


def test_builtin_pairs_say_where_they_stand() -> None:
    pairs = list(BuiltinSource(split="validation", size=5, seed=3).read())
    assert [pair.where for pair in pairs] == [f"builtin validation:{n}" for n in range(1, 6)]
    assert pairs == list(BuiltinSource(split="validation", size=5, seed=3).read())


def test_tables_are_found_where_the_catalogue_has_its_files(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (corpus / "data" / "ag-news").mkdir(parents=True)
    (corpus / "data" / "ag-news" / "test.csv.gz").write_bytes(
        gzip.compress(b'"3","Bear, found","A bear was ""found""."\n')
    )
    monkeypatch.setenv("PELUCHE_DATA", str(corpus / "data"))
    source = parse_as(Source, {"kind": "csv", "path": "ag-news/test.csv", "columns": [2, 1]})
    assert list(source.read()) == [('A bear was "found".', "Bear, found", "test.csv.gz:1")]


def test_names_on_a_command_line(corpus: Path) -> None:
    assert source_from(["a.en", "a.fr"]) == LinesSource(source="a.en", target="a.fr")
    assert source_from(["a.tsv.gz"], columns="1,0") == TsvSource(path="a.tsv.gz", columns=(1, 0))
    assert source_from(["a.csv"]) == TsvSource(kind="csv", path="a.csv")
    assert source_from(["a.jsonl"], columns="x,y.z") == JsonlSource(
        path="a.jsonl", fields=("x", "y.z")
    )
    assert source_from(["builtin"], limit=3) == BuiltinSource(size=3, limit=3)
    assert source_from(["multi30k"], "validation", "de-en", "tok") == CatalogueSource(
        name="multi30k", languages=("de", "en"), split="validation", variant="tok"
    )
    assert source_from(["tatoeba-en-fr"]).languages == ("en", "fr")


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["a.en"], {}, "alone is not a corpus of pairs"),
        (["multi30"], {}, "did you mean 'multi30k'?"),
        (["a.en", "a.fr", "a.de"], {}, "3 names given"),
        (["builtin"], {"variant": "tok"}, "unknown key 'variant'"),
        (["a.en", "a.fr"], {"split": "train"}, "unknown key 'split'"),
    ],
)
def test_names_that_cannot_be_used(
    corpus: Path, names: list[str], options: dict[str, str], message: str
) -> None:
    with pytest.raises((DataError, ConfigError)) as caught:
        source_from(names, **options)
    assert message in str(caught.value)
