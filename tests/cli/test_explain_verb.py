from __future__ import annotations

import json

import pytest
import torch
import typer
from typer.testing import CliRunner

import peluche
from peluche.cli.explain import register
from peluche.errors import CheckpointError, DataError
from peluche.hub.run import RunDirectory
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.reporting.explain import explain, explain_run
from peluche.text.tokenizer import TokenizerConfig

SENTENCE = "A cute bear."
MODEL = {"kind": "encoder_decoder", "d_model": 16, "layers": 1, "heads": 2, "d_ff": 32}
DECODING = {"beams": 3, "max_length_factor": 0, "max_length_offset": 5}


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    made = RunDirectory.create(tmp_path / "runs" / "tiny", {"model": MODEL, "decoding": DECODING})
    tokenizer = TokenizerConfig(vocab_size=40).build([SENTENCE])
    made.save_tokenizer(tokenizer)
    torch.manual_seed(1)
    made.save_weights(EncoderDecoderConfig.parse(MODEL).build(len(tokenizer)).state_dict())
    return made


def invoke(*arguments: object):
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, [str(item) for item in arguments], catch_exceptions=False)


def test_the_page_goes_into_the_run_and_its_path_to_stdout(run):
    result = invoke(run.path, SENTENCE)
    page = run.path / "report" / "explain.html"
    assert result.stdout == f"{page}\n"
    assert SENTENCE in page.read_text(encoding="utf-8")
    translation = peluche.load(run.path).translate([SENTENCE])[0]
    assert translation in result.stderr


def test_the_page_goes_where_it_is_told_to(run, tmp_path):
    page = tmp_path / "elsewhere" / "page.html"
    assert invoke(run.path, SENTENCE, "--output", page).stdout == f"{page}\n"
    assert page.is_file()
    assert not run.report_path.exists()


def test_json_is_one_object_with_the_same_numbers(run):
    record = json.loads(invoke(run.path, SENTENCE, "--json").stdout)
    translator = peluche.load(run.path)
    expected = explain(
        translator.model, translator.tokenizer, SENTENCE, decoding=translator.decoding
    )
    assert record == json.loads(json.dumps(expected.as_json()))
    assert record["beam"]["size"] == 3
    assert not run.report_path.exists()


def test_beams_and_weights_can_be_chosen(run):
    tensors = run.load_weights()
    run.save_weights({name: -tensor for name, tensor in tensors.items()}, "other")
    usual = json.loads(invoke(run.path, SENTENCE, "--json").stdout)
    other = json.loads(
        invoke(run.path, SENTENCE, "--json", "--beams", 2, "--weights", "other").stdout
    )
    assert other["beam"]["size"] == 2
    assert other["encoder"]["embedding"][0][0] == -usual["encoder"]["embedding"][0][0]


def test_pictures_are_written_beside(run, tmp_path):
    result = invoke(run.path, SENTENCE, "--json", "--pictures", tmp_path / "pictures")
    assert len(list((tmp_path / "pictures").iterdir())) == 10
    assert "10 pictures" in result.stderr
    json.loads(result.stdout)


def test_a_translator_in_hand_is_explained_into_its_run(run):
    assert explain_run(run, peluche.load(run.path), SENTENCE) == run.report_path / "explain.html"
    assert (run.report_path / "explain.html").is_file()


def test_bad_input_is_one_clear_error(run, tmp_path):
    with pytest.raises(DataError, match="empty"):
        invoke(run.path, " ")
    with pytest.raises(DataError, match="a page can show"):
        invoke(run.path, "bear " * 100)
    with pytest.raises(CheckpointError, match="no model"):
        invoke(tmp_path / "nothing", SENTENCE)
