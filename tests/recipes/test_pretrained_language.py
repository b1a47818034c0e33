"""Language models that start from one which was trained before."""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from peluche.data.texts import PlainText
from peluche.errors import CheckpointError, ConfigError
from peluche.hub.decoder_export import export_gguf, export_huggingface_decoder
from peluche.hub.resolve import open_source
from peluche.models.decoder import DecoderConfig
from peluche.models.state_space_lm import StateSpaceLMConfig
from peluche.recipes.recipe import load_recipe, parse_recipe
from peluche.recipes.train import resume_run, train_recipe
from peluche.studies.checks import check_comparison
from peluche.studies.comparison import ComparisonConfig
from peluche.tasks.export import export_model
from peluche.tasks.load import load_completer
from peluche.tasks.perplexity import window_likelihood
from peluche.text.tokenizer import SpecialIds, Tokenizer, TokenizerConfig
from peluche.training.events import Hook

VERSE = "the cat sat on the mat\nand purred\n"
LLAMA = {
    "d_model": 16, "layers": 1, "heads": 2, "d_ff": 24, "activation": "swiglu", "norm": "rmsnorm",
    "bias": False, "dropout": 0.0,
}  # fmt: skip
MIXER = {"heads": 4, "width": 8, "state": 4}
SPACE = {"kind": "state_space_lm", "d_model": 16, "layers": 1, "mixer": MIXER, "dropout": 0.0}
BYTES = {"kind": "bpe", "byte_level": True, "vocab_size": 300, "normalization": "none"}
RUNS = {
    "decoder": {"kind": "decoder", **LLAMA},
    "recurrent": {"kind": "recurrent_lm", "embedding": 16, "hidden": 24, "dropout": 0.0},
    "space": SPACE,
}
SOURCES = [*RUNS, "folder", "mamba", "gguf"]


def recipe(home, model, *, kind="lines", **changes):
    source = {"kind": kind, "path": str(home / "verse.txt")}
    return parse_recipe(
        {
            "name": "tuned",
            "task": "language_modelling",
            "data": {"train": source, "validation": source},
            "tokenizer": BYTES,
            "model": model,
            "batching": {"length": 12, "tokens": 96},
            "optimizer": {"lr": 1e-2},
            "schedule": {"kind": "constant", "warmup": 0},
            "evaluation": {"sample": "the", "tokens": 5},
            **changes,
            "training": {"steps": 1, "threads": 1, **changes.get("training", {})},
        }
    )


def start(home, name, **changes):
    return recipe(home, {"kind": "pretrained", "model": str(home / name)}, **changes)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Small runs of every family; decoders and Mamba-2 of elsewhere, without a [BOS]."""
    home = tmp_path_factory.mktemp("home")
    (home / "verse.txt").write_text(VERSE * 30, encoding="utf-8")
    for name, model in RUNS.items():
        train_recipe(recipe(home, model, training={"steps": 3}), home / name)
    learnt = TokenizerConfig.parse(BYTES).build([VERSE])
    tokenizer = Tokenizer(learnt._rust, SpecialIds(pad=3, unk=-1, bos=-1, eos=3))
    for parse, name in ((DecoderConfig.parse(LLAMA), "folder"), (None, "mamba")):
        torch.manual_seed(1)
        config = parse or StateSpaceLMConfig.parse(SPACE)
        model = config.build(len(tokenizer) + 2)  # rows without a token, as models have them
        export_huggingface_decoder(config, model.state_dict(), tokenizer, home / name)
    model = DecoderConfig.parse(LLAMA).build(len(tokenizer))
    export_gguf(model.config, model.state_dict(), tokenizer, home / "gguf", "F32")
    return home


@pytest.mark.parametrize("name", SOURCES)
def test_what_it_starts_from_is_what_was_trained(home, tmp_path, name):
    run, _ = train_recipe(start(home, name, optimizer={"lr": 1e-12}), tmp_path / "run")
    source = open_source(home / name)
    weights = source.load_weights()
    assert run.load_weights().keys() == weights.keys()
    for key, tensor in run.load_weights().items():
        torch.testing.assert_close(tensor, weights[key], atol=1e-8, rtol=0)
    assert run.tokenizer().special == source.tokenizer().special
    assert run.tokenizer().tokens() == source.tokenizer().tokens()
    before, after = load_completer(home / name), load_completer(run.path)
    found = [window_likelihood(one.model, one.tokenizer, VERSE, 8) for one in (before, after)]
    assert found[1].nll == pytest.approx(found[0].nll, abs=1e-5)


@pytest.mark.parametrize("name", SOURCES)
def test_it_learns_and_needs_its_source_no_more(home, tmp_path, name):
    for part in [home / "verse.txt", home / name]:
        copy = shutil.copytree if part.is_dir() else shutil.copy
        copy(part, tmp_path / part.name)
    training = {"steps": 40, "evaluate_every": 20, "checkpoint_every": 20}
    run, _ = train_recipe(start(tmp_path, name, training=training), tmp_path / "run")
    before = load_completer(home / name)
    after = load_completer(run.path)
    lines = [PlainText(line, "1") for line in VERSE.splitlines()]
    measured = [one.measure(lines).scores(0)[2].score for one in (before, after)]
    assert measured[1] < 0.8 * measured[0]
    last = [event for event in run.events() if event["event"] == "evaluate"][-1]
    scores = {score.metric: score.score for score in after.evaluate().scores(bootstrap=0)}
    assert scores["nll"] == pytest.approx(last["nll"], rel=1e-4)
    assert scores["bits_per_byte"] == pytest.approx(last["bits_per_byte"], rel=1e-4)
    other = tmp_path / name
    shutil.rmtree(other) if other.is_dir() else other.unlink()
    resumed, _ = resume_run(run.path)  # nothing is left to do, and nothing is missed
    assert load_completer(resumed.path).complete(["the cat"], max_tokens=4)[0].text


class Killed(Exception):
    """As a power cut would."""


class Kill(Hook):
    def step(self, event):
        if event.step == 7:
            raise Killed


@pytest.mark.parametrize("name", ["gguf", "space"])
def test_a_killed_run_resumes_bit_for_bit_without_its_source(home, tmp_path, name):
    copy = shutil.copytree if (home / name).is_dir() else shutil.copy
    for part in ("verse.txt", name):
        (shutil.copy if part == "verse.txt" else copy)(home / part, tmp_path / part)
    config = start(tmp_path, name, training={"steps": 10, "checkpoint_every": 5})
    whole, _ = train_recipe(config, tmp_path / "whole")
    with pytest.raises(Killed):
        train_recipe(config, tmp_path / "killed", hooks=[Kill()])
    (tmp_path / name).rename(tmp_path / "away")
    resumed, _ = resume_run(tmp_path / "killed")
    for key, tensor in whole.load_weights().items():
        assert torch.equal(tensor, resumed.load_weights()[key]), key


def test_a_tuned_model_is_exported(home, tmp_path):
    run, _ = train_recipe(start(home, "gguf", training={"steps": 5}), tmp_path / "run")
    ours = load_completer(run.path)
    ids = torch.tensor([ours.tokenizer.encode(VERSE)])
    export_model(str(run.path), "huggingface", tmp_path / "folder")
    export_model(str(run.path), "gguf", tmp_path / "a.gguf", format="F32")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "folder")
    again = load_completer(tmp_path / "a.gguf").model
    with torch.no_grad():
        expected = ours.model.logits(ours.model.hidden(ids))
        for found in (theirs(ids).logits, again.logits(again.hidden(ids))):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    cutter = transformers.AutoTokenizer.from_pretrained(tmp_path / "folder")
    assert cutter(VERSE)["input_ids"] == ids[0].tolist()


def test_one_start_is_the_next_one_s_beginning_with_its_dropout_or_another(home, tmp_path):
    given = {"kind": "pretrained", "model": str(home / "decoder"), "dropout": 0.25}
    first, _ = train_recipe(recipe(home, given), tmp_path / "first")
    again, _ = train_recipe(start(tmp_path, "first", **data(home)), tmp_path / "again")
    other = {**given, "model": str(tmp_path / "again"), "dropout": 0.0}
    last, _ = train_recipe(recipe(home, other), tmp_path / "last")
    found = [load_completer(run.path).model.config.dropout for run in (first, again, last)]
    assert found == [0.25, 0.25, 0.0]


def data(home):
    source = {"kind": "lines", "path": str(home / "verse.txt")}
    return {"data": {"train": source, "validation": source}}


def test_changes_on_the_command_line_replace_the_recipe_s_model(home):
    changes = ["model.kind=pretrained", f"model.model={home / 'gguf'}", "model.dropout=0.1"]
    found = load_recipe("shakespeare", changes).completed()
    assert found.model.resolved.d_model == 16
    assert found.model.resolved.dropout == 0.1
    assert found.completed() == found


def test_heads_that_look_further_ahead(home, tmp_path):
    several = {"objective": {"kind": "causal", "ahead": 2}}
    first, _ = train_recipe(recipe(home, RUNS["decoder"], **several), tmp_path / "first")
    given = first.load_weights()
    for ahead in (2, 1, 0):
        config = start(
            tmp_path, "first", **data(home), objective={"ahead": ahead}, optimizer={"lr": 1e-12}
        )
        run, _ = train_recipe(config, tmp_path / f"{ahead}")
        kept = run.load_weights()
        heads = {name.split(".")[2] for name in kept if name.startswith("ahead.")}
        assert len(heads) == ahead
        for name, tensor in kept.items():
            torch.testing.assert_close(tensor, given[name], atol=1e-8, rtol=0)
    with pytest.raises(ConfigError, match="ahead is 1; this model has 0 heads"):
        train_recipe(start(home, "decoder", objective={"ahead": 1}), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_what_cannot_be_started_from_is_refused_before_anything_is_made(home, tmp_path):
    def refused(error, said, name, **changes):
        where = tmp_path / "refused"
        with pytest.raises(error, match=said):
            train_recipe(start(tmp_path, name, **data(home), **changes), where)
        assert not where.exists()

    pairs = {"kind": "builtin", "size": 20, "split": "train"}
    translator = parse_recipe(
        {
            "name": "pairs",
            "data": {"train": pairs, "validation": pairs},
            "tokenizer": {"vocab_size": 200},
            "model": {"d_model": 16, "layers": 1, "heads": 2, "d_ff": 24},
            "training": {"steps": 1, "threads": 1},
        }
    )
    train_recipe(translator, tmp_path / "translator")
    refused(ConfigError, "kind 'encoder_decoder' is none that this recipe", "translator")
    refused(CheckpointError, "there is no model", "absent")
    for name in ("space", "folder", "decoder"):
        shutil.copytree(home / name, tmp_path / name)
    prefix, ahead = {"kind": "prefix"}, {"ahead": 1}
    refused(ConfigError, "a state_space_lm reads in one direction", "space", objective=prefix)
    refused(ConfigError, "has 0 heads", "space", objective=ahead)
    refused(ConfigError, "a state_space_lm has|qk_clip bounds", "space", objective={"qk_clip": 9.0})
    gap = {"kind": "fill_in_the_middle"}
    refused(ConfigError, r"has no \[PREFIX\]", "decoder", objective=gap)
    cut = load_file(tmp_path / "folder" / "model.safetensors")
    table = "model.embed_tokens.weight"
    save_file({**cut, table: cut[table][:9]}, tmp_path / "folder" / "model.safetensors")
    refused(CheckpointError, "the model only 9", "folder")
    cut[table][0] = torch.nan
    save_file(cut, tmp_path / "folder" / "model.safetensors")
    refused(CheckpointError, "NaN or infinity", "folder")
    with pytest.raises(ConfigError, match="did you mean 'model'"):
        recipe(home, {"kind": "pretrained", "modell": "a"})


def test_a_model_without_marks_is_refused(home, tmp_path):
    shutil.copytree(home / "folder", tmp_path / "folder")
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        path = tmp_path / "folder" / name
        values = json.loads(path.read_text())
        kept = {k: v for k, v in values.items() if "eos_token" not in k and "pad_token" not in k}
        path.write_text(json.dumps(kept))
    with pytest.raises(ConfigError, match="begins or ends a text"):
        train_recipe(start(tmp_path, "folder", **data(home)), tmp_path / "run")


def test_learned_positions_end(home, tmp_path):
    short = {**RUNS["decoder"], "positions": "learned", "max_length": 16}
    train_recipe(recipe(home, short), tmp_path / "short")
    long = start(tmp_path, "short", **data(home), batching={"length": 20, "tokens": 100})
    with pytest.raises(ConfigError, match=r"longer than model\.max_length 16"):
        train_recipe(long, tmp_path / "run")


def test_texts_without_a_beginning_are_scored_from_their_second_token(home):
    completer = load_completer(home / "gguf")
    texts = [PlainText(text, "1") for text in ("the cat", "and purred on the mat", "t")]
    total = count = 0.0
    for text in texts:
        ids = completer.tokenizer.encode(text.text, eos=True)
        with torch.no_grad():
            hidden = completer.model.hidden(torch.tensor([ids]))
            rows = completer.model.logits(hidden)[0, :-1].log_softmax(-1)
        total -= float(rows.gather(1, torch.tensor(ids[1:])[:, None]).sum())
        count += len(ids) - 1
    scores = {one.metric: one.score for one in completer.measure(texts).scores(bootstrap=0)}
    assert scores["nll"] == pytest.approx(total / count, rel=1e-5)
    size = sum(len(text.text) for text in texts)
    assert scores["bits_per_byte"] == pytest.approx(total / size / np.log(2), rel=1e-5)


def test_a_comparison_may_hold_such_a_start(home):
    variants = [{"name": name, "title": name} for name in ("a", "b")]
    config = ComparisonConfig.parse({"title": "", "recipe": "gpt", "variants": variants})
    fresh, started = recipe(home, RUNS["decoder"]), start(home, "decoder")
    check_comparison(config, [started, started])
    with pytest.raises(ConfigError, match="other tokens"):
        check_comparison(config, [fresh, started])
