"""The catalogue: its entries, where their files are looked for, and how they are fetched."""

import functools
import gzip
import hashlib
import http.server
import io
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from peluche.config import parse_as
from peluche.data import catalogue as module
from peluche.data.brackets import tree_of
from peluche.data.catalogue import Entry, catalogue, find_entry
from peluche.data.from_catalogue import FromCatalogue
from peluche.data.labelled import LabelledText, TextSource
from peluche.data.locate import cache_folder, data_folders, describe, get_file, locate, provide
from peluche.data.questions import QuestionSource
from peluche.data.sources import CatalogueSource, Source
from peluche.data.treebanks import CatalogueSentences, SentenceSource
from peluche.errors import ConfigError, DataError, DownloadError

KINDS = {
    "pairs": Source,
    "texts": TextSource,
    "sentences": SentenceSource,
    "questions": QuestionSource,
}
ENGLISH = gzip.compress(b"a bear\na cat\n", mtime=0)
FRENCH = gzip.compress(b"un ours\nun chat\n", mtime=0)
TOKENISED = b"a bear .\na cat .\n"
TABLE = "".join(
    f"Sentence {n}{mark}\tPhrase {n}{mark}\tnote\n" for n in range(500) for mark in ".!"
)

ENTRY = {
    "title": "Toys",
    "about": "toys",
    "homepage": "https://toys.example",
    "languages": ["en", "fr"],
    "licence": "free",
    "note": "none",
    "citation": "none",
    "url": "http://toys.example/data/",
    "variants": {
        "raw": {
            "kind": "lines",
            "splits": {
                "train": {"examples": 2, "path": "train.{language}.gz", "languages": ["en", "fr"]}
            },
        },
        "tok": {
            "kind": "lines",
            "splits": {"train": {"examples": 2, "path": "tok/{language}", "languages": ["en"]}},
        },
        "table": {
            "kind": "table",
            "path": "table.tsv.gz",
            "columns": {"en": 0, "fr": 1},
            "key": "en",
            "splits": {
                "train": {"examples": 800, "slice": [0.2, 1]},
                "test": {"examples": 200, "slice": [0, 0.2]},
            },
        },
    },
    "files": [
        {
            "path": "train.en.gz",
            "url": "raw/train.en.gz",
            "sha256": hashlib.sha256(ENGLISH).hexdigest(),
        },
        {
            "path": "train.fr.gz",
            "url": "raw/train.fr.gz",
            "sha256": hashlib.sha256(FRENCH).hexdigest(),
        },
        {"path": "tok/en", "url": "tok/en", "sha256": hashlib.sha256(TOKENISED).hexdigest()},
        {"path": "table.tsv.gz", "url": "table.zip", "member": "table.txt"},
    ],
}


def zipped(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, TABLE)
    return buffer.getvalue()


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A catalogue with the one entry, served from the folder that is given; a fresh cache."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

    served = tmp_path / "served"
    for path, content in {
        "raw/train.en.gz": ENGLISH,
        "raw/train.fr.gz": FRENCH,
        "tok/en": TOKENISED,
        "table.zip": zipped("table.txt"),
    }.items():
        (served / path).parent.mkdir(parents=True, exist_ok=True)
        (served / path).write_bytes(content)
    handler = functools.partial(Quiet, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        entry = Entry.parse({**ENTRY, "url": f"http://127.0.0.1:{server.server_address[1]}"})
        entries = functools.cache(lambda: {"toys": entry})
        monkeypatch.setattr(module, "catalogue", entries)
        monkeypatch.setattr("peluche.data.locate.catalogue", entries)
        monkeypatch.setenv("PELUCHE_CACHE", str(tmp_path / "cache"))
        monkeypatch.delenv("PELUCHE_DATA", raising=False)
        yield served
        server.shutdown()
        thread.join()


def test_the_entries() -> None:
    for name, entry in catalogue().items():
        assert entry.citation.lstrip().startswith("@")
        for file in entry.files:
            # Only what upstream remakes may go without a checksum.
            assert file.sha256 is not None or file.member is not None
            assert file.bytes is not None or file.member is not None
        for variant_name, variant in entry.variants.items():
            for split in variant.splits:
                if variant.gives in KINDS:
                    values = {"kind": "catalogue", "name": name, "variant": variant_name}
                    if variant.gives == "pairs":
                        values["languages"] = variant.languages(split)[:2]
                    source = parse_as(KINDS[variant.gives], values | {"split": split})
                    assert isinstance(source, FromCatalogue)


def test_what_a_corpus_gives_must_be_what_the_task_reads() -> None:
    values = {"kind": "catalogue", "name": "ud-english-ewt"}
    with pytest.raises(ConfigError, match="the variant 'upos' gives sentences, not texts"):
        parse_as(TextSource, values)
    with pytest.raises(ConfigError, match="gives texts, not pairs"):
        CatalogueSource.parse({"name": "sst2", "languages": ["en", "fr"]})
    with pytest.raises(ConfigError, match="no split 'test' here"):
        parse_as(TextSource, {"kind": "catalogue", "name": "sst2", "split": "test"})


def test_a_file_that_has_to_be_put_in_place_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PELUCHE_CACHE", str(tmp_path))
    monkeypatch.delenv("PELUCHE_DATA", raising=False)
    source = parse_as(TextSource, {"kind": "catalogue", "name": "imdb", "split": "validation"})
    with pytest.raises(DownloadError, match="cannot be downloaded") as caught:
        list(source.read())
    assert caught.value.where == str(tmp_path / "data" / "imdb" / "val.jsonl")
    assert "aclImdb_v1.tar.gz" in str(caught.value.remedy)


def test_labelled_texts_and_their_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PELUCHE_DATA", str(tmp_path))
    (tmp_path / "trec").mkdir()
    lines = "".join(f"NUM:count How many bears are {n}{mark}\n" for n in range(99) for mark in "?!")
    (tmp_path / "trec" / "train.txt").write_bytes(lines.encode() + b"LOC:city O\xf9 ?\n\n")

    def read(**values: object) -> list[LabelledText]:
        source = parse_as(TextSource, {"kind": "catalogue", "name": "trec", **values})
        return list(source.read())

    train, validation = read(), read(split="validation", empty="skip")
    assert len(train) + len(validation) == 199
    assert 4 <= len(validation) < 40
    assert {text.label for text in train + validation} == {"NUM", "LOC"}
    assert "Où ?" in {text.text for text in train + validation}
    # Both marks of a question are on one side; a slice of a split is not the split again.
    assert not {text.text[:-1] for text in train} & {text.text[:-1] for text in validation}
    assert 0 < len(read(slice=[0, 0.1])) < 40
    assert {text.label for text in read(variant="fine", limit=3)} <= {"NUM:count", "LOC:city"}
    assert read(names={"NUM": "number"}, limit=1)[0].label == "number"


def test_sentences_and_trees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PELUCHE_DATA", str(tmp_path))
    for name in ("wnut17", "ptb-sample"):
        (tmp_path / name).mkdir()
    (tmp_path / "wnut17" / "dev.conll").write_text("in\tO\nNew York\tB-location\n\n")
    with zipfile.ZipFile(tmp_path / "ptb-sample" / "treebank.zip", "w") as archive:
        archive.writestr("treebank/combined/a.mrg", "( (S (NP-SBJ (PRP I)) (VP (VBP am))))\n" * 20)
    values = {"kind": "catalogue", "name": "wnut17", "split": "validation"}
    (sentence,) = parse_as(SentenceSource, values).read()
    assert list(sentence.tokens) == ["in", "New York"]
    whole = [
        str(tree_of(one.tokens, one.tags, one.spans))
        for split in ("train", "validation", "test")
        for one in CatalogueSentences(name="ptb-sample", split=split).examples()
    ]
    assert whole == ["(S (NP (PRP I)) (VP (VBP am)))"] * 20


def test_unknown_entry() -> None:
    with pytest.raises(ConfigError, match="did you mean 'multi30k'"):
        find_entry("multi30")


def test_an_entry_must_say_where_each_file_comes_from() -> None:
    with pytest.raises(ConfigError, match=r"files without an address: \['table.tsv.gz'\]"):
        Entry.parse({**ENTRY, "files": ENTRY["files"][:3]})


def test_reading_downloads_once(toys: Path, tmp_path: Path) -> None:
    source = CatalogueSource(name="toys", languages=("fr", "en"))
    expected = [("un ours", "a bear"), ("un chat", "a cat")]
    assert [(pair.source, pair.target) for pair in source.read()] == expected
    assert (tmp_path / "cache/data/toys/train.en.gz").read_bytes() == ENGLISH
    shutil.rmtree(toys)
    assert [(pair.source, pair.target) for pair in source.read()] == expected


def test_peluche_data_comes_before_the_cache(
    toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provide("toys", "tok/en")
    own = tmp_path / "own" / "toys" / "tok" / "en.gz"
    own.parent.mkdir(parents=True)
    own.write_bytes(gzip.compress(TOKENISED))
    monkeypatch.setenv("PELUCHE_DATA", str(tmp_path / "own"))
    assert locate("toys", "tok/en") == own
    entry = find_entry("toys")
    assert get_file("toys", entry.files[2])["state"] == "here"  # the added .gz is taken off


def test_peluche_data_that_is_no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PELUCHE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="PELUCHE_DATA is not a folder"):
        data_folders()


def test_the_cache_is_in_the_home_folder_unless_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PELUCHE_CACHE", raising=False)
    assert cache_folder() == Path.home() / ".cache" / "peluche"
    monkeypatch.setenv("PELUCHE_CACHE", "~/elsewhere")
    assert cache_folder() == Path.home() / "elsewhere"


def test_get_into_a_folder_from_a_mirror(toys: Path, tmp_path: Path) -> None:
    entry = find_entry("toys")
    mirror = toys / "mirror"
    mirror.mkdir()
    for served in [path for path in toys.iterdir() if path != mirror]:
        served.rename(mirror / served.name)
    results = [
        get_file("toys", file, to=tmp_path / "to", base_url=f"{entry.url}/mirror/")
        for file in entry.files
    ]
    assert [result["state"] for result in results] == ["downloaded"] * 4
    assert gzip.decompress((tmp_path / "to/toys/table.tsv.gz").read_bytes()) == TABLE.encode()
    assert not (tmp_path / "to/toys/table.zip").exists()
    assert not (tmp_path / "cache").exists()
    again = [get_file("toys", file, to=tmp_path / "to") for file in entry.files]
    assert [result["state"] for result in again] == ["here"] * 4


def test_a_file_that_is_not_upstreams(toys: Path) -> None:
    file = find_entry("toys").files[0]
    path = provide("toys", file.path)
    path.write_bytes(FRENCH)
    with pytest.raises(DownloadError) as caught:
        get_file("toys", file)
    assert str(file.sha256) in caught.value.what
    assert hashlib.sha256(FRENCH).hexdigest() in caught.value.what
    assert caught.value.where == str(path)


def test_an_archive_without_the_member(toys: Path) -> None:
    (toys / "table.zip").write_bytes(zipped("other.txt"))
    with pytest.raises(DownloadError, match=r"the archive has no 'table\.txt'"):
        provide("toys", "table.tsv.gz")


@pytest.mark.parametrize("position", [0, 100])
def test_a_damaged_archive(toys: Path, tmp_path: Path, position: int) -> None:
    content = bytearray(zipped("table.txt"))
    content[position] ^= 0xFF
    (toys / "table.zip").write_bytes(content)
    with pytest.raises(DownloadError, match="damaged"):
        provide("toys", "table.tsv.gz")
    assert locate("toys", "table.tsv.gz") is None


def test_a_table_is_split_by_the_key_sentence(toys: Path) -> None:
    def read(split: str, *languages: str) -> list[tuple[str, str]]:
        source = CatalogueSource(name="toys", variant="table", split=split, languages=languages)
        return [(pair.source, pair.target) for pair in source.read()]

    train, test = read("train", "en", "fr"), read("test", "en", "fr")
    assert len(train) + len(test) == 1000
    assert 140 < len(test) < 260
    # The two marks of a sentence stay together; the direction does not change the split.
    assert not {source[:-1] for source, _ in train} & {source[:-1] for source, _ in test}
    assert read("test", "fr", "en") == [(target, source) for source, target in test]


def test_describe_counts_the_files_that_are_here(toys: Path) -> None:
    provide("toys", "tok/en")
    builtin, row = describe()
    assert builtin["name"] == "builtin"
    assert (row["name"], row["files"], row["files_here"]) == ("toys", 4, 1)


@pytest.mark.data
@pytest.mark.skipif("PELUCHE_DATA" not in os.environ, reason="PELUCHE_DATA names no folder")
def test_the_real_corpora() -> None:
    for name, entry in catalogue().items():
        for file in entry.files:
            if locate(name, file.path) is not None:
                get_file(name, file)
        for variant_name, variant in entry.variants.items():
            for split, size in variant.splits.items():
                read_here = variant.gives in ("texts", "sentences")
                if read_here and locate(name, variant.paths(split, ())[0]):
                    values = {"kind": "catalogue", "name": name, "variant": variant_name}
                    source = parse_as(KINDS[variant.gives], values | {"split": split})
                    assert sum(1 for _ in source.read()) == size.examples
                languages = variant.languages(split)
                pairs = [(languages[0], language) for language in languages[1:]]
                for pair in pairs:
                    if all(locate(name, path) for path in variant.paths(split, pair)):
                        source = CatalogueSource(
                            name=name, variant=variant_name, split=split, languages=pair
                        )
                        assert sum(1 for _ in source.read()) == size.examples
