"""Encoders and embedders that other libraries read: equal tokens, logits and vectors."""

import json

import pytest
import tokenizers
import torch
import transformers
from tokenizers import processors

from peluche.errors import CheckpointError, ConfigError
from peluche.hub.run import RunDirectory
from peluche.hub.sentence_folders import read_sentence_settings
from peluche.models.encoder import EncoderConfig
from peluche.models.text_embedder import TextEmbedderConfig
from peluche.tasks.export import export_model
from peluche.tasks.load import load_embedder, load_filler
from peluche.text.tokenizer import TokenizerConfig

TEXTS = ["A cute teddy bear is reading.", "Un ours lit.", "[EOS] is not here", "bear"]
SIZES = {"d_model": 16, "layers": 2, "heads": 2, "d_ff": 24, "max_length": 40}
BERT = {"norm_placement": "post", "norm_input": True, "positions": "learned", "activation": "gelu"}


@pytest.fixture(scope="module", params=["wordpiece", "bpe"])
def tokenizer(request):
    config = TokenizerConfig(kind=request.param, vocab_size=70, special=("[MASK]",))
    return config.build(TEXTS)


def spread(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def make_run(path, task, config, tokenizer, **values):
    run = RunDirectory.create(path, {"task": task, "model": config.model_dump(), **values})
    run.save_tokenizer(tokenizer)
    run.save_weights(spread(config.build(len(tokenizer))).state_dict())
    return path


def masked(path, tokenizer, **changes):
    config = EncoderConfig.parse({**SIZES, **changes})
    return make_run(path, "masked_language_modelling", config, tokenizer)


def embedder(path, tokenizer, **values):
    if values.pop("tuned", False):
        architecture = EncoderConfig.parse({**SIZES, "segments": 1})
        known = {"architecture": architecture, "vocabulary": len(tokenizer)}
        values["encoder"] = {"kind": "pretrained", "model": "gone", **known}
    else:
        values["encoder"] = {"kind": "transformer", **SIZES, **BERT, **values.pop("encoder", {})}
    config = TextEmbedderConfig.parse(values)
    return make_run(path, "embedding", config, tokenizer, batching={"max_length": 12})


@pytest.mark.parametrize(
    ("changes", "architecture"),
    [
        ({}, "BertForMaskedLM"),
        ({"segments": 0, "activation": "relu"}, "BertForMaskedLM"),
        ({"next_sentence": True}, "BertForPreTraining"),
    ],
)
@torch.no_grad()
def test_what_is_hidden_is_found_there(tokenizer, tmp_path, changes, architecture):
    run, said = masked(tmp_path / "run", tokenizer, **changes), []
    folder = export_model(str(run), "huggingface", say=said.append)
    assert said == [f"written for transformers.{architecture}"]
    loader = getattr(transformers, architecture)
    theirs, report = loader.from_pretrained(
        folder, attn_implementation="eager", output_loading_info=True
    )
    assert not any(report.values()), report
    cutter, ours = transformers.AutoTokenizer.from_pretrained(folder), load_filler(run)
    for text in ["A [MASK] bear is [MASK].", "[MASK]", "Un ours[MASK] lit"]:
        read = cutter(text, return_tensors="pt")
        ids = tokenizer.around([piece.id for piece in ours.pieces(text)])
        assert read["input_ids"].tolist() == [ids]
        assert cutter.mask_token_id in ids
        found = theirs.eval()(**read)
        logits = found.logits if architecture == "BertForMaskedLM" else found.prediction_logits
        expected = ours.model.logits(ours.model.hidden(read["input_ids"]))
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    pair = cutter(TEXTS[0], TEXTS[1])
    ids = tokenizer.around([*tokenizer.encode(TEXTS[0], eos=True), *tokenizer.encode(TEXTS[1])])
    assert pair["input_ids"] == ids
    if changes.get("segments") != 0:
        second = len(tokenizer.encode(TEXTS[1], eos=True))
        segments = [0] * (len(ids) - second) + [1] * second
        assert pair["token_type_ids"] == segments
        out = theirs(**{name: torch.tensor([row]) for name, row in pair.items()})
        hidden = ours.model.hidden(torch.tensor([ids]), segments=torch.tensor([segments]))
        logits = out.logits if architecture == "BertForMaskedLM" else out.prediction_logits
        torch.testing.assert_close(ours.model.logits(hidden), logits, atol=1e-5, rtol=1e-5)


CASES = {
    "tuned": {"tuned": True},
    "first": {"tuned": True, "pooling": "first", "normalize": False},
    "max": {"tuned": True, "pooling": "max"},
    "from nothing": {},
    "last": {"pooling": "last", "encoder": {"activation": "gelu_tanh"}},
}


def whole(embedder, tokenizer):
    """Texts of which both read the same: a text that is cut keeps its [EOS] there, and here only
    where [BOS] stands before it."""
    begins, longest = embedder.model.encoder.begins, embedder.config.max_length
    return [text for text in TEXTS if begins or len(tokenizer.encode(text, eos=True)) <= longest]


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_vectors_are_equal(tokenizer, tmp_path, case):
    run, said = embedder(tmp_path / "run", tokenizer, **CASES[case]), []
    folder = export_model(str(run), "huggingface", say=said.append)
    assert "SentenceTransformer" in said[0]
    ours = load_embedder(run)
    expected = ours.embed(TEXTS)
    cutter = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    assert type(model).__name__ == "BertModel"
    settings = read_sentence_settings(folder)
    assert settings["max_length"] == cutter.model_max_length == 12
    for text, vector in zip(TEXTS, expected, strict=True):
        read = cutter(text, return_tensors="pt", truncation=True)
        hidden = model(**read).last_hidden_state[0]
        pools = {"first": hidden[0], "last": hidden[-1], "mean": hidden.mean(0)}
        found = {**pools, "max": hidden.amax(0)}[settings["pooling"]]
        if settings["normalize"]:
            found = found / found.norm()
        if text in whole(ours, tokenizer):
            torch.testing.assert_close(found, vector, atol=1e-5, rtol=1e-5)
    if ours.model.encoder.begins:  # a folder's texts begin with [BOS] here
        again = load_embedder(folder)
        torch.testing.assert_close(again.embed(TEXTS), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_sentence_transformers_gives_equal_vectors(tokenizer, tmp_path, case):
    library = pytest.importorskip("sentence_transformers")
    run = embedder(tmp_path / "run", tokenizer, **CASES[case])
    folder = export_model(str(run), "huggingface")
    ours = load_embedder(run)
    texts = whole(ours, tokenizer)
    found = library.SentenceTransformer(str(folder), device="cpu").encode(texts)
    expected = ours.embed(texts)
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"encoder": {"positions": "sinusoidal"}}, "BertModel, .*model.encoder.positions=sinus"),
        ({"encoder": {"norm_placement": "pre"}}, "model.encoder.norm_placement=pre"),
        ({"pooling": "attention"}, "model.pooling=attention"),
    ],
)
def test_what_an_embedder_cannot_be_there_is_said(tokenizer, tmp_path, values, named):
    run = embedder(tmp_path / "run", tokenizer, **values)
    with pytest.raises(ConfigError, match=named):
        export_model(str(run), "huggingface")
    assert not (run / "export" / "huggingface").exists()


def test_what_an_encoder_cannot_be_there_is_said(tokenizer, tmp_path):
    run = masked(tmp_path / "run", tokenizer, positions="rope")
    with pytest.raises(ConfigError, match=r"BertForMaskedLM, .* model\.positions=rope\n"):
        export_model(str(run), "huggingface")


POOLED = {
    "pooling_mode_cls_token": "first",
    "pooling_mode_lasttoken": "last",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
}
NAMED = {"cls": "first", "lasttoken": "last", "mean": "mean", "max": "max"}


def sentence_folder(path, modules, **pooling):
    (path / "1_Pooling").mkdir(exist_ok=True)
    (path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    types = [{"type": f"sentence_transformers.{name}"} for name in modules]
    (path / "modules.json").write_text(json.dumps(types))
    return path


@pytest.mark.parametrize(("switch", "kind"), POOLED.items())
def test_older_folders_have_a_switch_for_each_pooling(tmp_path, switch, kind):
    modes = dict.fromkeys(POOLED, False)
    sentence_folder(tmp_path, ["models.Transformer"], **{**modes, switch: True})
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 7}')
    found = read_sentence_settings(tmp_path)
    assert found == {"pooling": kind, "normalize": False, "max_length": 7}


@pytest.mark.parametrize(("name", "kind"), NAMED.items())
def test_newer_folders_name_the_pooling(tmp_path, name, kind):
    modules = ["base.modules.transformer.Transformer", "base.modules.normalize.Normalize"]
    sentence_folder(tmp_path, modules, pooling_mode=name, include_prompt=True)
    (tmp_path / "sentence_bert_config.json").write_text('{"transformer_task": "x"}')
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 9}')
    found = read_sentence_settings(tmp_path)
    assert found == {"pooling": kind, "normalize": True, "max_length": 9}


def test_what_is_not_known_of_sentences_is_refused(tmp_path):
    sentence_folder(tmp_path, ["models.Transformer"], pooling_mode=["mean", "max"])
    with pytest.raises(ConfigError, match=r"mean.*max"):
        read_sentence_settings(tmp_path)
    sentence_folder(tmp_path, ["models.Transformer", "models.Dense"], pooling_mode="mean")
    with pytest.raises(ConfigError, match="Dense"):
        read_sentence_settings(tmp_path)
    (tmp_path / "modules.json").write_text("[{}]")
    with pytest.raises(CheckpointError, match=r"modules\.json cannot be read"):
        read_sentence_settings(tmp_path)


@torch.no_grad()
def test_a_roberta_embeds_and_goes_on_as_bert(tmp_path):
    """Its byte-level tokenizer, its positions, a limit of two fewer than their table says."""
    rust = TokenizerConfig(vocab_size=300, byte_level=True, normalization="none").build(TEXTS)
    specification = json.loads(rust.to_json())
    ids = specification["model"]["vocab"]
    marks = {"[BOS]": "<s>", "[PAD]": "<pad>", "[EOS]": "</s>", "[UNK]": "<unk>"}
    numbers = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    specification["model"]["vocab"] = {
        marks.get(token, token): numbers.get(marks.get(token), number)
        for token, number in ids.items()
    }
    specification["model"]["unk_token"] = None
    specification["added_tokens"] = []
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(json.dumps(specification)),
        bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>", unk_token="<unk>",
        pad_token="<pad>", mask_token=tokenizers.AddedToken("<mask>", lstrip=True, special=True),
    )  # fmt: skip
    made.backend_tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    made.save_pretrained(tmp_path / "roberta")
    config = transformers.RobertaConfig(
        vocab_size=len(made), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=14, type_vocab_size=1,
    )  # fmt: skip
    theirs = spread(transformers.RobertaModel(config, add_pooling_layer=False)).eval()
    theirs.save_pretrained(tmp_path / "roberta")

    ours = load_embedder(tmp_path / "roberta")
    assert ours.config.max_length == 12
    assert ours.tokenizer.mask_id == made.mask_token_id
    expected = ours.embed(TEXTS)
    for text, vector in zip(TEXTS, expected, strict=True):
        read = made(text, return_tensors="pt", truncation=True, max_length=12)
        assert read["input_ids"][0, 0] == 0
        found = theirs(**read).last_hidden_state[0].mean(0)
        torch.testing.assert_close(vector, found, atol=1e-5, rtol=1e-5)

    folder = export_model(str(tmp_path / "roberta"), "huggingface", tmp_path / "bert")
    assert json.loads((folder / "config.json").read_text())["model_type"] == "bert"
    assert transformers.AutoTokenizer.from_pretrained(folder)(TEXTS[0]).input_ids == (
        made(TEXTS[0]).input_ids
    )
    torch.testing.assert_close(load_embedder(folder).embed(TEXTS), expected, atol=1e-5, rtol=1e-5)
    for form in ("gguf", "ctranslate2"):
        with pytest.raises(ConfigError, match=f"cannot be exported to {form}"):
            export_model(str(tmp_path / "roberta"), form, tmp_path / form)
