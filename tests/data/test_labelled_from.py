"""Labelled texts named on a command line: read as the run's own, unless something else is said."""

import gzip

import pytest

from peluche.data.labelled_from import texts_from
from peluche.errors import ConfigError, DataError

SST2 = {"kind": "catalogue", "name": "sst2", "split": "validation", "slice": [0, 0.5]}
TREC = {"kind": "label_first", "path": "own.txt", "encoding": "latin-1", "coarse": True}


def read(names, like, **options):
    return [
        (example.text, example.second, example.label)
        for example in texts_from([str(name) for name in names], like, **options).read()
    ]


def write(tmp_path, name, text, encoding="utf-8"):
    path = tmp_path / name
    path.write_text(text, encoding=encoding)
    return path


def test_a_file_has_the_names_of_labels_and_the_columns_of_the_runs_corpus(tmp_path):
    path = write(tmp_path, "other.tsv", "a soft bear\t1\na dull film\t0\nfine\tpositive\n")
    labels = [label for _, _, label in read([path], SST2)]
    assert labels == ["positive", "negative", "positive"]
    imdb = {"kind": "catalogue", "name": "imdb"}
    path = write(tmp_path, "other.jsonl", '{"text": "soft", "label": "pos", "id": 3}\n')
    assert read([path], imdb) == [("soft", None, "positive")]
    # A file of another kind than the run's has its own columns, and the run's names of labels.
    assert read([path], SST2 | {"names": {"pos": "positive"}}) == [("soft", None, "positive")]
    packed = tmp_path / "other.csv.gz"
    packed.write_bytes(gzip.compress(b'"soft, warm",1\n'))
    assert read([packed], SST2) == [("soft, warm", None, "positive")]


def test_a_file_without_a_telling_suffix_is_read_as_the_runs_own(tmp_path):
    path = write(tmp_path, "TREC_more.label", "NUM:date When is café ?\n", "latin-1")
    assert read([path], TREC) == [("When is café ?", None, "NUM")]
    assert read([path], TREC, limit=1)[0][2] == "NUM"


def test_folders(tmp_path):
    (tmp_path / "pos").mkdir()
    write(tmp_path / "pos", "1.txt", "soft")
    assert read([tmp_path], SST2 | {"names": {"pos": "positive"}}) == [("soft", None, "positive")]


@pytest.mark.parametrize(
    ("header", "row", "columns"),
    [
        # As the training files of MNLI, MRPC and WNLI of GLUE have them.
        (
            "index promptID pairID genre sentence1_binary_parse sentence2_binary_parse "
            "sentence1_parse sentence2_parse sentence1 sentence2 label1 gold_label",
            "0|1|1e|fiction|-|-|-|-|A bear reads.|It can read.|entailment|entailment",
            "sentence1,sentence2,gold_label",
        ),
        (
            "Quality|#1 ID|#2 ID|#1 String|#2 String",
            "1|7|8|A bear reads.|It can read.",
            "#1 String,#2 String,Quality",
        ),
        (
            "index sentence1 sentence2 label",
            "0|A bear reads.|It can read.|1",
            "sentence1,sentence2,label",
        ),
    ],
)
def test_pairs_of_texts_by_the_headers_of_glue(tmp_path, header, row, columns):
    separator = "|" if "|" in header else " "
    lines = [header.replace(separator, "\t"), row.replace("|", "\t")]
    # GLUE's MRPC begins with a byte order mark; a quotation mark in a text stands for itself.
    path = write(tmp_path, "train.tsv", "\ufeff" + "\n".join(lines).replace("can", '"can') + "\n")
    ((first, second, label),) = read([path], {}, columns=columns)
    assert (first, second) == ("A bear reads.", 'It "can read.')
    assert label in ("entailment", "1")


def test_corpora_of_the_catalogue(tmp_path, monkeypatch):
    monkeypatch.setenv("PELUCHE_DATA", str(tmp_path))
    for name, content in {
        "sst2/dev.tsv": "soft\t1\n" * 3,
        "imdb/val.jsonl": '{"text": "dull", "label": "neg"}\n',
        "multi30k/val.en.gz": "a bear\n",
        "multi30k/val.de.gz": "ein Bär\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path, name, content)
    # Without a name the run's own source, with its slice; by name the whole split.
    assert texts_from([], SST2).slice == (0, 0.5)
    assert len(read(["sst2"], SST2)) == 3
    assert read(["imdb"], SST2) == [("dull", None, "negative")]
    languages = {"kind": "languages", "name": "multi30k", "languages": ["en", "de"]}
    found = read(["multi30k"], languages, split="validation")
    assert found == [("a bear", None, "en"), ("ein Bär", None, "de")]


@pytest.mark.parametrize(
    ("names", "options", "error", "message"),
    [
        (["a.tsv", "b.tsv"], {}, DataError, "2 names given"),
        (["nowhere.txt"], {}, DataError, "no corpus, file or folder is called 'nowhere.txt'"),
        (["sst3"], {}, DataError, "did you mean 'sst2'"),
        (["a.tsv"], {"columns": "1"}, ConfigError, "names 1 columns"),
        (["a.tsv"], {"columns": "text,1"}, ConfigError, "all numbers"),
        (["a.tsv"], {"split": "test"}, ConfigError, "unknown key 'split'"),
        (["multi30k"], {}, ConfigError, "gives pairs, not texts"),
        (["sst2"], {"split": "test"}, ConfigError, "no split 'test'"),
    ],
)
def test_what_is_not_meant_is_refused(names, options, error, message):
    with pytest.raises(error, match=message):
        texts_from(names, SST2, **options)


def test_a_file_that_does_not_tell_its_format(tmp_path):
    path = write(tmp_path, "texts.txt", "soft\n")
    with pytest.raises(DataError, match="cannot be told how labelled texts stand"):
        texts_from([str(path)], {"kind": "languages", "name": "multi30k"})
