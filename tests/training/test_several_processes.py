"""Several processes train what one trains, and states move between numbers of them."""

from pathlib import Path

import pytest
import torch

from peluche.errors import ConfigError
from peluche.hub.run import RunDirectory
from peluche.models.decoder import DecoderConfig
from peluche.nn.parallel import check_divides
from peluche.objectives.causal import CausalConfig
from peluche.processes import Processes, SeveralProcesses
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.train import resume_run, train_recipe
from peluche.training.replica import ReplicatedConfig, ShardedConfig
from peluche.training.states import seed_process
from together import Job, changed, difference, losses, run


def embedding_values(folder: Path) -> dict:
    """Sentence embeddings by contrast, in micro-batches of unequal numbers of pairs; two pairs
    share a text."""
    sizes = {"d_model": 16, "layers": 1, "heads": 2, "d_ff": 32}
    pairs = folder / "pairs.tsv"
    lines = [f"the {'old ' * (n % 7)}bear {n % 11}\tun ours {n % 13}\n" for n in range(40)]
    pairs.write_text("".join(lines))
    source = {"kind": "tsv", "path": str(pairs)}
    return {
        "name": "tiny",
        "task": "embedding",
        "data": {"train": source, "validation": source},
        "tokenizer": {"kind": "word"},
        "model": {"encoder": {"kind": "transformer", **sizes, "dropout": 0.0}},
        "batching": {"tokens": 48},
        "optimizer": {"lr": 3e-3, "eps": 1e-6},
        "training": {
            "steps": 4,
            "accumulate": 4,
            "evaluate_every": 4,
            "log_every": 1,
            "threads": 1,
        },
    }


SIZES = {"d_model": 16, "layers": 1, "heads": 2, "d_ff": 32}
EXPERTS = {"count": 4, "active": 2, "d_ff": 16}
DIVIDED = {"parallel": {"kind": "sharded"}}
TEAM = {"parallel": {"kind": "sharded", "tensor": 2}}


def short_cases(decoder_values: dict, mixture: dict) -> dict[str, tuple[dict, dict]]:
    """Recipes and how they are divided, of three steps each."""
    # Two gradients are added up to the last bit, which Muon's bfloat16 would make large.
    short = {"steps": 3, "accumulate": 2}
    muon = changed(decoder_values, optimizer={"kind": "muon"}, training=short)
    clipped = changed(muon, objective={"qk_clip": 0.5})
    stacks = changed(mixture, optimizer={"kind": "muon"}, training=short)
    mup = changed(
        decoder_values,
        model={"mup": {"d_model": 8, "head_width": 4}, "bias": False},
        training=short,
    )
    masked = {
        **changed(decoder_values, tokenizer={"special": ["[MASK]"]}, training=short),
        "task": "masked_language_modelling",
        "model": {**SIZES, "max_length": 16, "dropout": 0.0},
    }
    latent_sizes = {**SIZES, "bias": False, "latent": {"kv_rank": 8, "rope_width": 4}}
    latent = changed(decoder_values, training=short) | {
        "model": {"kind": "decoder", "dropout": 0.0, **latent_sizes}
    }
    state_space = changed(decoder_values, training=short) | {
        "model": {
            "kind": "state_space_lm",
            "d_model": 16,
            "layers": 1,
            "mixer": {"heads": 2, "width": 8, "state": 4, "chunk": 8},
            "dropout": 0.0,
        }
    }
    return {
        "muon": (muon, {}),
        "muon-clip": (clipped, {}),
        "mup": (mup, {}),
        "masked": (masked, {}),
        "divided-muon": (muon, DIVIDED),
        "divided-stacks": (stacks, DIVIDED),
        "team-muon": (muon, TEAM),
        "team-latent": (latent, TEAM),
        "team-state-space": (state_space, TEAM),
        "team-mixture": (mixture, TEAM),
    }


@pytest.mark.slow
def test_two_processes_train_what_one_trains(decoder_values, tiny_values, tmp_path):
    mixture = changed(decoder_values, model={"experts": {**EXPERTS, "balance_weight": 0.1}})
    by_bias = changed(
        decoder_values, model={"experts": {**EXPERTS, "balance": "bias", "bias_rate": 0.1}}
    )
    averaged = changed(decoder_values, training={"averaging": {"kind": "ema", "decay": 0.5}})
    translation = changed(
        tiny_values,
        model={"dropout": 0.0},
        optimizer={"eps": 1e-6},
        training={"steps": 6, "accumulate": 2},
    )
    texts = tmp_path / "labelled.tsv"
    texts.write_text("good\tthe bear reads\nbad\tthe wolf\n" * 8)
    source = {"kind": "tsv", "path": str(texts), "label": 0, "text": 1}
    # One text at a time: the part that tells two apart is never used.
    labelled = {
        "name": "labelled",
        "task": "classification",
        "data": {"train": source, "validation": source},
        "tokenizer": {"kind": "word"},
        "model": {
            "encoder": {"kind": "transformer", "d_model": 16, "heads": 2, "dropout": 0.0},
            "dropout": 0.0,
        },
        "batching": {"tokens": 16},
        "optimizer": {"lr": 3e-3, "eps": 1e-6},
        "training": {"steps": 4, "accumulate": 2, "log_every": 1, "threads": 1},
    }
    embedding = embedding_values(tmp_path)
    # Each process of a team has norms and biases of scores for its own heads.
    near = changed(averaged, model={"positions": "alibi", "qk_norm": True, "norm": "rmsnorm"})
    relative = changed(translation, model={"positions": "relative"})
    cases = short_cases(decoder_values, mixture) | {
        "average": (averaged, {}),
        "decoder": (decoder_values, {}),
        "mixture": (mixture, {}),
        "bias": (by_bias, {}),
        "translation": (translation, {}),
        "classification": (labelled, {}),
        "embedding": (embedding, {}),
        "divided": (averaged, DIVIDED),
        "divided-embedding": (embedding, DIVIDED),
        "divided-translation": (translation, DIVIDED),
        "divided-mixture": (mixture, DIVIDED),
        "team": (averaged, TEAM),
        "team-norms": (near, TEAM),
        "team-relative": (relative, TEAM),
        "again": (translation, {**DIVIDED, "checkpointing": True}),
    }
    jobs = [
        Job(f"two-{name}", changed(values, training=further))
        for name, (values, further) in cases.items()
    ]
    said = run(tmp_path, 2, jobs)
    # What torch says where unused parameters are looked for and there are none.
    assert "find_unused_parameters" not in said
    for name, (values, _) in cases.items():
        train_recipe(parse_recipe(values), tmp_path / f"one-{name}")
        one, two = tmp_path / f"one-{name}", tmp_path / f"two-{name}"
        assert difference(one, two) < 1e-5, name
        assert losses(two) == pytest.approx(losses(one), abs=1e-5), name
    # Experts have to disagree for a balance over processes to be tested.
    biases = RunDirectory.open(tmp_path / "two-bias").load_weights()
    assert any(tensor.abs().max() > 0 for name, tensor in biases.items() if "preference" in name)


@pytest.mark.slow
def test_states_move_between_numbers_of_processes(decoder_values, tmp_path):
    divided = {"parallel": {"kind": "sharded", "tensor": 2}, "averaging": {"kind": "ema"}}
    values = changed(decoder_values, training={**divided, "select": "last"})
    whole, _ = train_recipe(parse_recipe(values), tmp_path / "whole")
    embedding = changed(embedding_values(tmp_path), training={"parallel": divided["parallel"]})
    train_recipe(parse_recipe(embedding), tmp_path / "one")
    run(tmp_path, 4, [Job("moved", values, stop_at=3), Job("teams", embedding)])
    assert difference(tmp_path / "one", tmp_path / "teams") < 1e-5
    folders = [path.name for path in (tmp_path / "moved/state/step-00000003").iterdir()]
    assert {"model", "optimizer", "average"} <= set(folders)
    run(tmp_path, 2, [Job("moved", values, stop_at=5)])
    moved, _ = resume_run(tmp_path / "moved")
    assert difference(whole.path, moved.path) < 1e-5


def test_processes_draw_different_numbers():
    drawn = []
    for rank in range(2):
        seed_process(3, rank)
        drawn.append(torch.rand(4))
    assert not torch.equal(*drawn)


def test_a_step_that_cannot_be_dealt_out_says_what_to_set():
    with pytest.raises(ConfigError, match=r"training\.accumulate=4"):
        SeveralProcesses(1, 4).share([1, 2, 3])
    assert SeveralProcesses(1, 2).share([1, 2, 3, 4]) == [2, 4]
    assert SeveralProcesses(3, 4).in_teams(2).share([1, 2, 3, 4]) == [2, 4]


def test_heads_and_features_have_to_divide():
    sizes = {"d_model": 12, "layers": 1, "heads": 6, "kv_heads": 3, "d_ff": 15}
    model = DecoderConfig(**sizes).build(5)
    check_divides(model, 3)
    with pytest.raises(ConfigError, match=r"3 heads of keys .* 5 processes") as refused:
        check_divides(model, 5)
    assert "divisor of model.kv_heads" in str(refused.value)
    with pytest.raises(ConfigError, match="4 features of feed-forward layers do not divide"):
        check_divides(DecoderConfig(**sizes | {"d_ff": 4}).build(5), 3)


def test_teams_have_to_divide_the_processes():
    with pytest.raises(ConfigError, match="start a multiple of 2"):
        SeveralProcesses(0, 3).in_teams(2)
    assert Processes().in_teams(2).count == 1


def test_what_several_processes_cannot_do_is_refused():
    pair = SeveralProcesses(0, 2)
    model = DecoderConfig(d_model=8, layers=1, heads=2, d_ff=8).build(5)
    clipped = CausalConfig(qk_clip=1.0).build()
    with pytest.raises(ConfigError, match="changes whole matrices") as refused:
        ShardedConfig().build(model, clipped, pair)
    assert "set it to replicated" in str(refused.value)
    assert ReplicatedConfig().build(model, clipped, Processes()).objective is clipped
