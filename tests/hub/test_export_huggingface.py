"""Exported to transformers and back: equal logits, equal tokens."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from peluche.data.span_corruption import SENTINEL
from peluche.errors import CheckpointError, ConfigError
from peluche.generation.beam import beam_search
from peluche.generation.config import DecodingConfig
from peluche.generation.decoder import ModelDecoder
from peluche.generation.search import Request, greedy_search
from peluche.hub.from_huggingface import load_huggingface
from peluche.hub.huggingface import SearchDefaults, export_huggingface
from peluche.hub.tensors import read_tensors, write_tensors
from peluche.tasks.load import load_translator
from peluche.text.tokenizer import TokenizerConfig

transformers.utils.logging.disable_progress_bar()

TEXTS = ["Un ours en peluche mignon lit.", "A cute teddy bear is reading."]

POST = {"norm_placement": "post"}
EXPRESSIBLE = [
    ("PegasusForConditionalGeneration", {}),
    ("PegasusForConditionalGeneration", {"positions": "learned", "max_length": 40}),
    ("PegasusForConditionalGeneration", {"activation": "gelu", "kv_heads": 2, "bias": False}),
    ("MarianMTModel", POST),
    ("MarianMTModel", POST | {"tie_embeddings": "decoder", "activation": "relu2"}),
    ("MarianMTModel", POST | {"tie_embeddings": "none", "kv_heads": 1, "bias": False}),
]


def export(tiny, folder, **settings):
    made = tiny(**settings)
    name = export_huggingface(made.config, made.model.state_dict(), made.tokenizer, folder)
    return made, name


def load_theirs(name, folder):
    model, report = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    return model.eval()


@pytest.mark.parametrize(("name", "settings"), EXPRESSIBLE)
def test_logits_are_equal_both_ways(tiny, tmp_path, name, settings):
    made, reader = export(tiny, tmp_path / "out", **settings)
    assert reader == name
    theirs = load_theirs(name, tmp_path / "out")
    with torch.no_grad():
        logits = theirs(
            input_ids=made.source, attention_mask=made.valid, decoder_input_ids=made.target
        ).logits
    torch.testing.assert_close(made.logits(), logits, atol=1e-5, rtol=0)

    theirs.save_pretrained(tmp_path / "again")
    config, state = load_huggingface(tmp_path / "again")
    assert config == made.config.model_copy(
        update={"kv_heads": None, "bias": True, "max_length": config.max_length}
    )
    again = config.build(len(made.tokenizer)).eval()
    again.load_state_dict(state)
    torch.testing.assert_close(made.logits(again), logits, atol=1e-5, rtol=0)


T5 = {"norm": "rmsnorm", "bias": False, "positions": "relative"}


@pytest.mark.parametrize("settings", [T5, T5 | {"activation": "swiglu", "attention_scale": 1.0}])
@torch.no_grad()
def test_t5_has_the_same_logits_and_says_the_same(tiny, tmp_path, settings):
    made, reader = export(tiny, tmp_path / "out", **settings)
    assert reader == "T5ForConditionalGeneration"
    theirs = load_theirs(reader, tmp_path / "out")
    read = {"input_ids": made.source, "attention_mask": made.valid}
    logits = theirs(**read, decoder_input_ids=made.target).logits
    torch.testing.assert_close(made.logits(), logits, atol=1e-5, rtol=0)

    written = theirs.generate(**read, max_length=9).tolist()
    requests = [Request(row, 8) for row in made.source_rows]
    said = greedy_search(ModelDecoder(made.model), requests, DecodingConfig(kind="greedy"))
    for row, [best, *_] in zip(written, said, strict=True):
        assert len(best.tokens) > 2
        assert row[1 : len(best.tokens) + 1] == best.tokens

    again = load_translator(tmp_path / "out")
    assert again.tokenizer.special[:4] == (0, -1, 2, 3)
    torch.testing.assert_close(made.logits(again.model), logits, atol=1e-5, rtol=0)


def test_sentinels_can_be_spelt_there(tiny, tmp_path):
    marks = [SENTINEL.format(number) for number in range(2)]
    tokenizer = TokenizerConfig(kind="bpe", vocab_size=70, special=tuple(marks)).build(TEXTS)
    config = tiny(**T5).config
    state = config.build(len(tokenizer)).state_dict()
    export_huggingface(config, state, tokenizer, tmp_path / "out")
    cutter = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    parts = tokenizer.encode_batch(["Un ours", "en"])
    ids = [*parts[0], tokenizer.id(marks[0]), *parts[1], tokenizer.id(marks[1]), tokenizer.eos_id]
    assert cutter(f"Un ours {marks[0]} en {marks[1]}").input_ids == ids


@pytest.mark.parametrize("kind", ["marian", "pegasus"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_models_born_in_transformers_are_read(tmp_path, kind, activation):
    settings = transformers.AutoConfig.for_model(
        kind,
        vocab_size=40,
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        activation_function=activation,
        scale_embedding=True,
        max_position_embeddings=32,
        pad_token_id=0,
        eos_token_id=3,
        decoder_start_token_id=2,
        init_std=0.3,
    )
    torch.manual_seed(1)
    theirs = transformers.AutoModelForSeq2SeqLM.from_config(settings).eval()
    theirs.save_pretrained(tmp_path)
    config, state = load_huggingface(tmp_path)
    assert config.norm_placement == {"marian": "post", "pegasus": "pre"}[kind]
    assert config.positions == "sinusoidal"
    ours = config.build(40).eval()
    ours.load_state_dict(state)
    source, target = torch.randint(4, 40, (2, 6)), torch.randint(4, 40, (2, 5))
    valid = torch.ones_like(source, dtype=torch.bool)
    with torch.no_grad():
        expected = theirs(input_ids=source, decoder_input_ids=target).logits
        found = ours.logits(ours.hidden(target, condition=ours.encode(source, valid)))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("placement", ["pre", "post"])
@pytest.mark.parametrize("beams", [1, 4])
def test_generate_says_the_same(trained, tmp_path, placement, beams):
    made = trained(placement)
    limit = 14
    name = export_huggingface(
        made.config,
        made.model.state_dict(),
        made.tokenizer,
        tmp_path / "out",
        SearchDefaults(beams=beams, length_penalty=0.7, max_length=limit + 1),
    )
    found = load_theirs(name, tmp_path / "out").generate(
        input_ids=made.source,
        attention_mask=made.valid,
        output_scores=True,
        return_dict_in_generate=True,
    )
    requests = [Request(row, limit) for row in made.source_rows]
    config = DecodingConfig(beams=beams, length_penalty=0.7)
    search = beam_search if beams > 1 else greedy_search
    with torch.no_grad():
        ours = [best for [best, *_] in search(ModelDecoder(made.model), requests, config)]
    assert [row[1 : row.index(3)] for row in found.sequences.tolist()] == [o.tokens for o in ours]
    assert max(len(one.tokens) for one in ours) >= 2
    if beams > 1:
        scores = [one.score for one in ours]
        assert found.sequences_scores.tolist() == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("beams", [1, 3])
def test_special_tokens_are_never_generated(tiny, tmp_path, beams):
    made = tiny()
    with torch.no_grad():  # [PAD], [UNK] and [BOS] score highest everywhere
        made.model.decoder.norm.weight.zero_()
        made.model.head.weight[:3] = 9.0 * made.model.decoder.norm.bias.sign()
    name = export_huggingface(made.config, made.model.state_dict(), made.tokenizer, tmp_path / "o")
    assert set(made.logits().argmax(-1).flatten().tolist()) <= {0, 1, 2}
    found = load_theirs(name, tmp_path / "o").generate(
        input_ids=made.source, attention_mask=made.valid, num_beams=beams, max_length=6
    )
    for row in found.tolist():
        assert not {0, 1, 2} & set(row[1 : row.index(3) if 3 in row else None])


@pytest.mark.parametrize("text", [*"aé", "A cute bear.", "Un  ours [EOS] lit", ""])
def test_tokenizer_gives_the_ids_of_ours(tiny, tmp_path, text):
    made, _ = export(tiny, tmp_path / "out")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = made.tokenizer.encode(text, eos=True)
    assert theirs(text).input_ids == ids
    assert theirs.decode(ids, skip_special_tokens=True) == made.tokenizer.decode(ids)
    padded = theirs([text, "Un ours"], padding=True)
    assert set(padded) == {"input_ids", "attention_mask"}
    assert padded.input_ids[0][: len(ids)] == ids
    assert set(padded.input_ids[0][len(ids) :]) <= {0}
    assert (theirs.pad_token_id, theirs.bos_token_id, theirs.eos_token_id) == (0, 2, 3)


def test_learned_positions_limit_what_is_generated(tiny, tmp_path):
    export(tiny, tmp_path / "out", positions="learned", max_length=40)
    settings = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert settings["max_length"] == 40


def test_half_precision_weights_are_written_in_full(tiny, tmp_path):
    made = tiny()
    state = {name: tensor.bfloat16() for name, tensor in made.model.state_dict().items()}
    export_huggingface(made.config, state, made.tokenizer, tmp_path / "out")
    written = read_tensors(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in written.values()} == {torch.float32}


def test_here_is_a_folder_like_any_other(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "note").touch()
    with pytest.raises(ConfigError, match="not empty"):
        export(tiny, Path("."))


def test_exporting_needs_no_transformers(tiny, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    export(tiny, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["decoder_start_token_id"] == 2
    assert config["forced_eos_token_id"] is None


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"positions": "rope"}, "model.positions=rope"),
        ({"norm": "rmsnorm"}, "model.norm=rmsnorm"),
        ({"activation": "swiglu"}, "model.activation=swiglu"),
        ({"tie_embeddings": "none"}, "model.tie_embeddings=none"),
        ({"norm_placement": "sandwich"}, "model.norm_placement=sandwich"),
        (POST | {"positions": "learned"}, "model.positions=learned"),
    ],
)
def test_what_cannot_be_expressed_is_said(tiny, tmp_path, settings, named):
    with pytest.raises(ConfigError) as caught:
        export(tiny, tmp_path / "out", **settings)
    assert named in caught.value.what
    assert caught.value.what.count("model.") == 1
    assert "MarianMTModel (norm_placement post" in caught.value.remedy
    assert not (tmp_path / "out").exists()


def test_output_in_use_is_left_alone(tiny, tmp_path):
    (tmp_path / "out").mkdir()
    export(tiny, tmp_path / "out")  # empty: fine
    before = sorted((tmp_path / "out").iterdir())
    with pytest.raises(ConfigError, match="not empty"):
        export(tiny, tmp_path / "out")
    assert sorted((tmp_path / "out").iterdir()) == before
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        export(tiny, tmp_path / "file")
    assert {path.name for path in tmp_path.iterdir()} == {"out", "file"}


def test_unwritable_output_is_explained(tiny, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot save the exported model"):
        export(tiny, tmp_path / "file" / "below")


@pytest.fixture
def exported(tiny, tmp_path):
    export(tiny, tmp_path / "out")
    return tmp_path / "out"


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"model_type": "bart"}, "of type 'bart'"),
        ({"scale_embedding": False}, "scale_embedding"),
        ({"decoder_ffn_dim": 99}, "ffn_dim differ"),
        ({"decoder_attention_heads": 2}, "attention_heads differ"),
        ({"activation_function": "swish"}, "activation"),
    ],
)
def test_models_without_an_equal_are_refused(exported, values, complaint):
    change(exported, **values)
    with pytest.raises(ConfigError, match=complaint):
        load_huggingface(exported)


def test_a_head_bias_is_refused(exported):
    tensors = read_tensors(exported / "model.safetensors")
    write_tensors(exported / "model.safetensors", tensors | {"final_logits_bias": torch.ones(1, 9)})
    with pytest.raises(ConfigError, match="final_logits_bias"):
        load_huggingface(exported)


def test_damage_is_told(exported, tmp_path):
    tensors = read_tensors(exported / "model.safetensors")
    del tensors["model.shared.weight"]
    write_tensors(exported / "model.safetensors", tensors)
    with pytest.raises(CheckpointError, match=r"lack 'model\.shared\.weight'"):
        load_huggingface(exported)
    config = json.loads((exported / "config.json").read_text())
    del config["encoder_layers"]
    (exported / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"config\.json lacks 'encoder_layers'"):
        load_huggingface(exported)
    (exported / "config.json").write_text("[1]")
    with pytest.raises(CheckpointError, match="not a JSON object"):
        load_huggingface(exported)
    (exported / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_huggingface(exported)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_huggingface(tmp_path)
