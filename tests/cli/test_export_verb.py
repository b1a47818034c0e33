import json
import subprocess
import sys

import pytest
import torch
import typer
from typer.testing import CliRunner

from peluche.cli.export import register
from peluche.errors import CheckpointError, ConfigError
from peluche.hub.run import RunDirectory
from peluche.hub.tensors import read_tensors
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.text.tokenizer import TokenizerConfig


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_run(tmp_path / "runs" / "tiny")


def make_run(path, **decoding):
    tokenizer = TokenizerConfig(kind="character", vocab_size=40).build(["un ours", "a bear"])
    config = EncoderDecoderConfig(d_model=8, heads=2, d_ff=8, layers=1)
    values = {"model": config.model_dump()} | ({"decoding": decoding} if decoding else {})
    made = RunDirectory.create(path, values)
    made.save_tokenizer(tokenizer)
    for name in ("model", "best"):
        torch.manual_seed(len(name))
        made.save_weights(config.build(len(tokenizer)).state_dict(), name)
    return made


def export(*arguments):
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


@pytest.mark.parametrize(
    ("to", "reader", "weights"),
    [
        ("huggingface", "transformers.PegasusForConditionalGeneration", "model.safetensors"),
        ("ctranslate2", "ctranslate2.Translator", "model.bin"),
    ],
)
def test_folder_is_named_on_stdout_and_its_reader_on_stderr(run, to, reader, weights):
    result = export("tiny", "--to", to)
    folder = run.path / "export" / to
    assert result.exit_code == 0
    assert result.stdout.strip() == str(folder.relative_to(run.path.parents[1]))
    assert reader in result.stderr
    assert (folder / weights).is_file()


def test_chosen_weights_go_to_the_chosen_folder(run):
    export("tiny", "--to", "huggingface", "--weights", "best", "--output", "out/here")
    written = read_tensors(run.path.parents[1] / "out" / "here" / "model.safetensors")
    embedding = run.load_weights("best")["decoder.embedding.weight"]
    assert torch.equal(written["model.shared.weight"], embedding)
    with pytest.raises(CheckpointError, match="no other"):
        export("tiny", "--to", "huggingface", "--weights", "other", "--output", "out/there")


@pytest.mark.parametrize(
    ("decoding", "beams", "penalty", "length"),
    [
        ({}, 5, 1.0, 514),
        ({"kind": "greedy"}, 1, 1.0, 514),
        ({"beams": 3, "length_penalty": 0.6, "max_length": 80}, 3, 0.6, 82),
    ],
)
def test_generate_gets_the_settings_of_the_run(
    tmp_path, monkeypatch, decoding, beams, penalty, length
):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "tiny", **decoding)
    result = export("tiny", "--to", "huggingface", "--output", "out")
    settings = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert (settings["num_beams"], settings["length_penalty"]) == (beams, penalty)
    assert settings["max_length"] == length
    assert settings["early_stopping"] == ("never" if beams > 1 else False)
    assert "gnmt" not in result.stderr


def test_a_length_normalisation_that_is_lost_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "tiny", length_normalization="gnmt")
    assert "gnmt" in export("tiny", "--to", "huggingface").stderr


def test_second_export_does_not_overwrite_the_first(run):
    export("tiny", "--to", "huggingface")
    with pytest.raises(ConfigError, match="not empty"):
        export("tiny", "--to", "huggingface")


def test_unknown_target_and_run(run):
    assert export("tiny", "--to", "tensorrt").exit_code == 2
    with pytest.raises(CheckpointError, match="no model 'tyny'"):
        export("tyny", "--to", "huggingface")


def test_the_verb_imports_nothing_heavy():
    code = "import peluche.cli.export, sys; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
