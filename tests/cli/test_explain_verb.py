from __future__ import annotations

import json

import pytest
import torch
import typer
from typer.testing import CliRunner

import peluche
from peluche.cli.explain import register
from peluche.errors import CheckpointError, ConfigError, DataError
from peluche.hub.decoder_export import export_huggingface_decoder
from peluche.hub.run import RunDirectory
from peluche.models.decoder import DecoderConfig
from peluche.models.encoder import EncoderConfig
from peluche.models.encoder_decoder import EncoderDecoderConfig
from peluche.reporting.explain import explain, explain_run
from peluche.tasks.load import load_completer, load_filler
from peluche.tasks.perplexity import window_likelihood
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


TINY = {"d_model": 16, "layers": 2, "heads": 2, "d_ff": 24}
TEXT = "A cute bear."


def make_run(path, task: str, model: dict[str, object], config: type) -> RunDirectory:
    made = RunDirectory.create(path, {"task": task, "model": model})
    tokenizer = TokenizerConfig(vocab_size=40, special=("[MASK]",)).build([TEXT])
    made.save_tokenizer(tokenizer)
    torch.manual_seed(1)
    made.save_weights(config.parse(model).build(len(tokenizer)).state_dict())
    return made


@pytest.fixture
def reader(tmp_path) -> RunDirectory:
    model = {"kind": "decoder", "norm": "rmsnorm", "bias": False, "activation": "swiglu", **TINY}
    return make_run(tmp_path / "runs" / "lm", "language_modelling", model, DecoderConfig)


def test_a_language_model_is_explained_as_perplexity_scores_it(reader):
    record = json.loads(
        invoke(reader.path, TEXT, "--json", "--layers", "1-2", "--heads", "2").stdout
    )
    completer = load_completer(reader.path)
    expected = window_likelihood(completer.model, completer.tokenizer, TEXT, 64)
    assert record["score"]["nll"] == pytest.approx(expected.nll, rel=1e-4)
    assert [[head["head"] for head in one["heads"]] for one in record["attention"]] == [[1], [1]]
    result = invoke(reader.path, TEXT)
    assert result.stdout == f"{reader.path / 'report' / 'explain.html'}\n"


def test_a_text_that_is_cut_is_said(reader):
    result = invoke(reader.path, TEXT, "--tokens", 3, "--candidates", 2, "--json")
    record = json.loads(result.stdout)
    assert len(record["tokens"]) == 3
    assert len(record["predictions"][0]["candidates"]) == 2
    assert "Only the first 3 tokens of the text are read" in result.stderr


def test_a_text_can_come_from_standard_input(reader):
    app = typer.Typer()
    register(app)
    result = CliRunner().invoke(app, [str(reader.path), "-", "--json"], input=TEXT)
    assert json.loads(result.stdout)["text"] == TEXT


def test_other_models_than_runs_put_the_page_here(reader, tmp_path, monkeypatch):
    state, tokenizer = reader.load_weights(), reader.tokenizer()
    config = DecoderConfig.parse(reader.config["model"])
    export_huggingface_decoder(config, state, tokenizer, tmp_path / "folder")
    monkeypatch.chdir(tmp_path)
    assert invoke(tmp_path / "folder", TEXT).stdout == "explain.html\n"
    assert "A cute bear." in (tmp_path / "explain.html").read_text(encoding="utf-8")


def test_an_encoder_says_what_is_hidden(tmp_path):
    model = {"kind": "encoder", "max_length": 16, **TINY}
    run = make_run(tmp_path / "mlm", "masked_language_modelling", model, EncoderConfig)
    record = json.loads(invoke(run.path, "A [MASK] bear.", "--json").stdout)
    [place] = [n for n, token in enumerate(record["tokens"]) if token["text"] == "[MASK]"]
    filled = load_filler(run.path).fill(["A [MASK] bear."], 8)[0][0]
    said = record["predictions"][place]["candidates"]
    assert [one["token"] for one in said] == [one.token for one in filled]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--beams", 2), "--beams has no meaning for language_modelling"),
        (("--layers", "3"), "there is no layer 3"),
        (("--heads", "one"), "'one' are no numbers"),
    ],
)
def test_what_a_language_model_has_not_is_refused(reader, arguments, says):
    with pytest.raises(ConfigError, match=says):
        invoke(reader.path, TEXT, *arguments)


def test_layers_cannot_be_chosen_of_a_translator(run):
    with pytest.raises(ConfigError, match="--layers has no meaning for translation"):
        invoke(run.path, SENTENCE, "--layers", "1")


def test_an_empty_text_is_refused(reader):
    with pytest.raises(DataError, match="the text to explain is empty"):
        invoke(reader.path, " ")
