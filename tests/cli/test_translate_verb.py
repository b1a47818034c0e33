from __future__ import annotations

import io
import json
import sys

import pytest
import torch
import typer
from typer.testing import CliRunner

import peluche
from peluche.cli.translate import register
from peluche.errors import CheckpointError, ConfigError, DataError
from peluche.hub.run import RunDirectory
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.text.tokenizer import TokenizerConfig

LINES = ["Un café noir.", "", "The small rabbit sleeps near the house.", "Two dogs."]
MODEL = {"kind": "encoder_decoder", "d_model": 16, "layers": 1, "heads": 2, "d_ff": 32}
DECODING = {"beams": 3, "max_length_factor": 1.0, "max_length_offset": 3}


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    run = RunDirectory.create(folder, {"model": MODEL, "decoding": DECODING})
    tokenizer = TokenizerConfig(vocab_size=60).build(LINES)
    run.save_tokenizer(tokenizer)
    torch.manual_seed(1)
    model = EncoderDecoderConfig.parse(MODEL).build(len(tokenizer))
    run.save_weights({name: 2 * tensor for name, tensor in model.state_dict().items()})
    return str(folder)


def invoke(*arguments: str, stdin: str | bytes | None = None):
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, arguments, input=stdin, catch_exceptions=False)


def test_lines_in_lines_out(path):
    result = invoke(path, stdin="\n".join(LINES) + "\n")
    assert result.stdout.split("\n") == [*peluche.load(path).translate(LINES), ""]


def test_a_sentence_as_argument(path):
    assert invoke(path, LINES[0]).stdout == peluche.load(path).translate([LINES[0]])[0] + "\n"


def test_json_has_one_object_per_line(path):
    items = [
        json.loads(line) for line in invoke(path, "--json", stdin=LINES[0]).stdout.split("\n")[:-1]
    ]
    [expected] = peluche.load(path).translate_with_scores([LINES[0]])
    assert items == [
        {"source": LINES[0], "translation": expected.translation, "score": expected.score}
    ]


def test_n_best_lines_say_which_sentence_they_belong_to(path):
    lines = invoke(path, "--n-best", "2", "--beam", "4", stdin="\n".join(LINES[2:])).stdout
    rows = [line.split("\t") for line in lines.splitlines()]
    expected = peluche.load(path).translate(LINES[2:], beams=4, n_best=2)
    assert [row[0] for row in rows] == ["1", "1", "2", "2"]
    assert [row[2] for row in rows] == expected
    assert float(rows[0][1]) >= float(rows[1][1])
    ranked = invoke(path, "--n-best", "2", "--json", LINES[0]).stdout.splitlines()
    assert [json.loads(line)["rank"] for line in ranked] == [1, 2]


def test_options_reach_the_search(path):
    translator = peluche.load(path)
    assert (
        invoke(path, "--beam", "1", LINES[2]).stdout.rstrip("\n")
        == (translator.translate([LINES[2]], beams=1)[0])
    )
    assert invoke(path, "--prefix", "Two", LINES[2]).stdout.startswith("Two")
    draws = {
        invoke(path, "--sample", "--temperature", "2", "--seed", seed, LINES[2]).stdout
        for seed in "0011"
    }
    assert len(draws) == 2
    narrow = ["--sample", "--top-k", "1", "--top-p", "0.5", "--min-p", "0.5"]
    greedy = invoke(path, "--beam", "1", LINES[2]).stdout
    assert invoke(path, *narrow, LINES[2]).stdout == greedy
    assert invoke(path, "--sample", "--temperature", "0", LINES[2]).stdout == greedy
    ended = invoke(path, "--sample", "--logit-bias", "3=100", LINES[2]).stdout
    assert ended == "\n", "token 3 is [EOS]"
    once = invoke(path, "--sample", "--temperature", "0", "--repetition-penalty", "50", LINES[2])
    assert len(set(once.stdout.split())) == len(once.stdout.split())


def test_standard_input_in_another_encoding(path):
    latin = invoke(path, "--encoding", "latin-1", stdin=LINES[0].encode("latin-1"))
    assert latin.stdout == invoke(path, LINES[0]).stdout
    with pytest.raises(DataError, match="standard input:1"):
        invoke(path, stdin=LINES[0].encode("latin-1"))
    with pytest.raises(DataError, match="unknown text encoding"):
        invoke(path, "--encoding", "latin-999", LINES[0])


def test_a_line_over_the_limit_is_named_on_stderr(path):
    result = invoke(path, stdin=f"{LINES[3]}\n{'dog ' * 2000}\n")
    assert "line 2 has" in result.stderr
    assert len(result.stdout.splitlines()) == 2


def test_the_rate_is_told_after_two_seconds(path, monkeypatch):
    assert "tokens/s" not in invoke(path, LINES[0]).stderr
    monkeypatch.setattr("peluche.cli.translating.QUIET_SECONDS", 0.0)
    result = invoke(path, LINES[0])
    assert "1 sentences" in result.stderr
    assert "tokens/s" in result.stderr


def test_a_prompt_on_a_terminal(path, monkeypatch, capsys):
    typed = iter([LINES[0], LINES[3]])

    def answer(prompt: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", answer)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    app = typer.Typer()
    register(app)
    app([path], standalone_mode=False)
    assert capsys.readouterr().out.splitlines() == peluche.load(path).translate(
        [LINES[0], LINES[3]]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--temperature", "0.5"], "--temperature: only with --sample"),
        (["--sample", "--beam", "3"], "exclude each other"),
        (["--n-best", "4", "--beam", "2"], "n_best 4 is more than beams 2"),
        (["--sample", "--top-p", "1.5"], "top_p"),
        (["--logit-bias", "7=1"], "--logit-bias: only with --sample"),
        (["--sample", "--logit-bias", "7:1"], "not ID=BIAS"),
        (["--sample", "--logit-bias", "99999=1"], "no token 99999"),
    ],
)
def test_options_that_do_not_go_together(path, arguments, message):
    with pytest.raises(ConfigError, match=message):
        invoke(path, *arguments, LINES[0])


def test_there_is_no_such_run(path):
    with pytest.raises(CheckpointError, match="did you mean"):
        invoke(path.replace("tiny", "tinny"), LINES[0])
