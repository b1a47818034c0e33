"""Several processes train what one trains, and states move between numbers of them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from peluche.errors import ConfigError
from peluche.hub.run import RunDirectory
from peluche.models.decoder import DecoderConfig
from peluche.nn.parallel import check_divides
from peluche.processes import Processes, SeveralProcesses
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.train import resume_run, train_recipe
from peluche.training.states import seed_process

# Processes as torchrun makes them, but forked after the imports, which take longer than the jobs.
JOBS = """
import json, os, sys
from pathlib import Path
import peluche.training.replica, torch.distributed.fsdp, torch.distributed.tensor.parallel
from peluche.recipes.recipe import parse_recipe
from peluche.recipes.train import resume_run, train_recipe
from peluche.training.events import Hook

class Stop(Hook):
    def __init__(self, at):
        self.at = at
    def start(self, trainer):
        self.trainer = trainer
    def step(self, event):
        print(event.step, flush=True)
        if event.step == self.at:
            self.trainer.request_stop("the test says so")

def work(rank):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    for folder, values, stop_at in json.loads(Path(sys.argv[1]).read_text()):
        folder = Path(folder)
        if folder.exists():
            resume_run(folder, hooks=[Stop(stop_at)])
        else:
            train_recipe(parse_recipe(values), folder, hooks=[Stop(stop_at)])

children = []
for rank in range(int(os.environ["WORLD_SIZE"])):
    child = os.fork()
    if child == 0:
        work(rank)
        sys.exit(0)
    children.append(child)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


def start(
    tmp_path: Path, count: int, jobs: list[tuple[str, dict, int | None]]
) -> subprocess.Popen[str]:
    """So many processes that do jobs together: (folder, recipe, step to stop at)."""
    plan = tmp_path / f"jobs-{time.monotonic_ns()}.json"
    plan.write_text(json.dumps([(str(tmp_path / name), *rest) for name, *rest in jobs]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-c", JOBS, str(plan)],
        env={**os.environ, **shared},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(tmp_path: Path, count: int, jobs: list[tuple[str, dict, int | None]]) -> None:
    process = start(tmp_path, count, jobs)
    _, problems = process.communicate()
    assert process.returncode == 0, problems


def difference(left: Path, right: Path) -> float:
    """The largest between weights of two runs."""
    one, other = RunDirectory.open(left).load_weights(), RunDirectory.open(right).load_weights()
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def losses(path: Path) -> list[float]:
    return [e["loss"] for e in RunDirectory.open(path).events() if e["event"] == "step"]


@pytest.fixture
def decoder_values(tmp_path: Path) -> dict:
    """A tiny language model; every token is seen, so that no gradient is mere rounding."""
    text = tmp_path / "text.txt"
    text.write_text("the bear reads and the cat sings\nthe dog sleeps by the wolf\n" * 40)
    source = {"kind": "document", "path": str(text)}
    return {
        "name": "tiny",
        "task": "language_modelling",
        "data": {"train": source, "validation": {**source, "part": [0.9, 1.0]}},
        "tokenizer": {"kind": "character"},
        "model": {
            "kind": "decoder",
            "d_model": 16,
            "layers": 2,
            "heads": 4,
            "kv_heads": 2,
            "d_ff": 32,
            "dropout": 0.0,
        },
        "batching": {"length": 16, "tokens": 64},
        "optimizer": {"lr": 3e-3, "eps": 1e-6},
        "schedule": {"kind": "cosine", "warmup": 3},
        "training": {
            "steps": 8,
            "accumulate": 4,
            "evaluate_every": 4,
            "checkpoint_every": 2,
            "log_every": 1,
            "threads": 1,
            "select": "loss",
        },
    }


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


def changed(values: dict, **sections: dict) -> dict:
    return values | {name: values.get(name, {}) | changes for name, changes in sections.items()}


SIZES = {"d_model": 16, "layers": 1, "heads": 2, "d_ff": 32}
EXPERTS = {"count": 4, "active": 2, "d_ff": 16}


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
    divided = {"parallel": {"kind": "sharded"}}
    team = {"parallel": {"kind": "sharded", "tensor": 2}}
    embedding = embedding_values(tmp_path)
    # Each process of a team has norms and biases of scores for its own heads.
    near = changed(averaged, model={"positions": "alibi", "qk_norm": True, "norm": "rmsnorm"})
    relative = changed(translation, model={"positions": "relative"})
    # Two gradients are added up to the last bit, which Muon's bfloat16 would make large.
    short = {"steps": 3, "accumulate": 2}
    muon = changed(
        decoder_values, optimizer={"kind": "muon"}, objective={"qk_clip": 0.5}, training=short
    )
    muon_d = changed(decoder_values, optimizer={"kind": "muon"}, training=short)
    wide = {"mup": {"d_model": 8, "head_width": 4}, "bias": False}
    mup = changed(decoder_values, model=wide, training=short)
    masked = {
        **changed(decoder_values, tokenizer={"special": ["[MASK]"]}, training=short),
        "task": "masked_language_modelling",
        "model": {**SIZES, "max_length": 16, "dropout": 0.0},
    }
    latent = changed(
        {**decoder_values, "model": {**SIZES, "kind": "decoder", "dropout": 0.0}},
        model={"bias": False, "latent": {"kv_rank": 8, "rope_width": 4}},
        training=short,
    )
    mixer = {"heads": 2, "width": 8, "state": 4, "chunk": 8}
    state_space = changed(
        {**decoder_values, "model": {"kind": "state_space_lm", "d_model": 16, "layers": 1}},
        model={"mixer": mixer, "dropout": 0.0},
        training=short,
    )
    cases = {
        "muon": (muon, {}),
        "mup": (mup, {}),
        "masked": (masked, {}),
        "team-latent": (latent, team),
        "team-state-space": (state_space, team),
        "team-mixture": (mixture, team),
        "divided-muon": (muon_d, divided),
        "decoder": (decoder_values, {}),
        "mixture": (mixture, {}),
        "bias": (by_bias, {}),
        "translation": (translation, {}),
        "classification": (labelled, {}),
        "embedding": (embedding, {}),
        "divided": (averaged, divided),
        "divided-embedding": (embedding, divided),
        "divided-translation": (translation, divided),
        "divided-mixture": (mixture, divided),
        "team": (averaged, team),
        "team-norms": (near, team),
        "team-relative": (relative, team),
        "again": (translation, {**divided, "checkpointing": True}),
    }
    import os as _os
    cases={k:v for k,v in cases.items() if k in _os.environ["ONLY"].split(",")}
    jobs = [
        (f"two-{name}", changed(values, training=further), None)
        for name, (values, further) in cases.items()
    ]
    run(tmp_path, 2, jobs)
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
    run(tmp_path, 4, [("moved", values, 3), ("teams", embedding, None)])
    assert difference(tmp_path / "one", tmp_path / "teams") < 1e-5
    folders = [path.name for path in (tmp_path / "moved/state/step-00000003").iterdir()]
    assert {"model", "optimizer", "average"} <= set(folders)
    run(tmp_path, 2, [("moved", values, 5)])
    moved, _ = resume_run(tmp_path / "moved")
    assert difference(whole.path, moved.path) < 1e-5


@pytest.mark.slow
def test_two_killed_processes_resume_bit_for_bit(decoder_values, tmp_path):
    values = changed(
        decoder_values,
        model={"dropout": 0.2},
        training={"steps": 14, "parallel": {"kind": "sharded"}},
    )
    processes = start(tmp_path, 2, [("killed", values, None)])
    for line in processes.stdout:
        if int(line) >= 5:
            break
    os.killpg(processes.pid, signal.SIGKILL)
    processes.communicate()
    assert not (tmp_path / "killed/model.safetensors").exists()
    run(tmp_path, 2, [("killed", values, None), ("whole", values, None)])
    assert difference(tmp_path / "killed", tmp_path / "whole") == 0.0


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
