import gzip
import json

import pytest
import sacrebleu
import typer
from typer.testing import CliRunner

from peluche.cli.score import register
from peluche.errors import ConfigError, DataError

HYPOTHESES = ["Un ours en peluche lit.", "Le chat dort.", "Une fille mange."]
REFERENCES = ["Un ours en peluche mignon lit.", "Le chat dort.", "La fille mange une pomme."]
OTHERS = ["Un ours.", "Le chien dort.", "Une fille mange."]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, lines in (("hyp", HYPOTHESES), ("ref", REFERENCES), ("other", OTHERS)):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def run(*arguments, stdin=None):
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, arguments, input=stdin, catch_exceptions=False)


def objects(*arguments, **more):
    return [json.loads(line) for line in run(*arguments, "--json", **more).stdout.splitlines()]


def test_json_has_one_object_per_metric(folder):
    bleu, wer = objects("hyp", "ref", "--metric", "bleu", "--metric", "wer")
    assert list(bleu) == list(wer) == ["metric", "score", "signature", "ci"]
    assert bleu["score"] == pytest.approx(sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score)
    assert bleu["ci"][0] < bleu["score"] < bleu["ci"][1]
    assert wer["score"] == pytest.approx(100 * 5 / 14)


def test_default_metrics_and_table(folder):
    lines = run("hyp", "ref").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["metric", "bleu", "chrf", "ter"]
    assert len({line.index("nrefs") for line in lines[1:]} | {lines[0].index("signature")}) == 1


def test_options_reach_the_metrics(folder):
    options = ["--tokenize", "char", "--lowercase", "--bootstrap", "20", "--seed", "7"]
    bleu = objects("hyp", "ref", "--metric", "bleu", *options)[0]
    for part in ("bs:20", "seed:7", "case:lc", "tok:char"):
        assert part in bleu["signature"].split("|")
    assert (
        "stem[french]"
        in objects("hyp", "ref", "--metric", "meteor", "--stem", "french")[0]["signature"]
    )
    assert objects("hyp", "ref", "--bootstrap", "0")[0]["ci"] is None
    assert run("hyp", "ref", "--bootstrap", "0").stdout.splitlines()[1].split()[2] == "-"


def test_several_references_gzip_and_standard_input(folder):
    with gzip.open(folder / "ref2.gz", "wt", encoding="utf-8") as stream:
        stream.write("\n".join(HYPOTHESES) + "\n")
    found = objects("-", "ref", "ref2.gz", "--metric", "exact_match", stdin="\n".join(HYPOTHESES))[
        0
    ]
    assert found["score"] == 100
    assert "nrefs:2" in found["signature"]


def test_against_another_system(folder):
    found = objects("hyp", "ref", "--against", "other", "--metric", "wer")[0]["against"]
    assert found["baseline_score"] == pytest.approx(100 * 10 / 14)
    assert found["difference"] == pytest.approx(-100 * 5 / 14)
    assert 0 < found["p_value"] <= 1
    table = run("hyp", "ref", "--against", "other", "--metric", "wer").stdout
    assert "from other" in table
    assert f"{-500 / 14:.2f}" in table


def test_sentence_scores(folder):
    result = run("hyp", "ref", "--sentences", "--metric", "wer", "--metric", "bleu")
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert lines[0] == ["line", "wer", "bleu"]
    assert lines[2] == ["2", "0.00", "100.00"]
    assert "eff:yes" in result.stderr
    found = objects("hyp", "ref", "--sentences", "--metric", "wer")
    assert found[2] == {"line": 3, "wer": 80}


def test_encoding(folder):
    (folder / "latin").write_bytes("été\n".encode("latin-1"))
    found = objects("latin", "latin", "--encoding", "latin-1", "--metric", "exact_match")
    assert found[0]["score"] == 100
    with pytest.raises(DataError, match=r"not utf-8(.|\n)*latin:1, byte offset 0"):
        run("latin", "latin")


def test_unequal_line_counts(folder):
    (folder / "short").write_text("Un ours.\n", encoding="utf-8")
    with pytest.raises(DataError, match="hyp has 3 lines but short has 1"):
        run("hyp", "short")
    with pytest.raises(DataError, match="hyp has 3 lines but short has 1"):
        run("hyp", "ref", "--against", "short")


def test_missing_file(folder):
    with pytest.raises(DataError, match=r"no such file: hyq(.|\n)*did you mean 'hyp'"):
        run("hyq", "ref")


def test_empty_file(folder):
    (folder / "empty").touch()
    with pytest.raises(DataError, match="empty is empty"):
        run("hyp", "empty")
    with pytest.raises(DataError, match="standard input is empty"):
        run("-", "ref", stdin="")


def test_unknown_metric(folder):
    with pytest.raises(ConfigError, match="did you mean 'bleu'"):
        run("hyp", "ref", "--metric", "blue")


def test_sentences_exclude_against(folder):
    with pytest.raises(ConfigError, match="exclude each other"):
        run("hyp", "ref", "--sentences", "--against", "other")


def test_errors_are_one_clear_message(folder, monkeypatch, capsys):
    from peluche.cli.main import main

    monkeypatch.setattr("sys.argv", ["peluche", "score", "hyp", "nothing"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == DataError.exit_code
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("peluche: no such file: nothing\n")
