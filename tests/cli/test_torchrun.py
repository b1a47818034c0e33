"""`torchrun … -m peluche train` by the real torchrun: the work of one, said and written once."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from together import difference, losses

RECIPE = """
name: lm
task: language_modelling
data:
  train: {kind: document, path: text.txt, part: [0.0, 0.9]}
  validation: {kind: document, path: text.txt, part: [0.9, 1.0]}
tokenizer: {kind: character}
model: {kind: decoder, d_model: 16, layers: 1, heads: 2, d_ff: 32, dropout: 0.0}
batching: {length: 16, tokens: 64}
optimizer: {eps: 1.0e-6}
training: {steps: 12, accumulate: 2, evaluate_every: 6, log_every: 1, threads: 1}
"""
DIVIDED = ["training.parallel.kind=sharded", "training.steps=400", "training.evaluate_every=1000"]


def torchrun(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = [Path(sys.executable).with_name("torchrun"), "--nproc-per-node", "2"]
    return subprocess.Popen(
        [*program, "--master-port", str(port), "-m", "peluche", "train", *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "lm.yaml").write_text(RECIPE)
    text = "the bear reads, the cat sings\nthe dog sleeps by the wolf\n"
    (tmp_path / "text.txt").write_text(text * 60)
    return tmp_path


def events(run: Path, kind: str) -> list[dict]:
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return [event for event in lines if event["event"] == kind]


@pytest.mark.slow
def test_two_processes_are_one(folder, command):
    process = torchrun(folder, "lm.yaml", "-o", "two")
    printed, said = process.communicate()
    assert process.returncode == 0, said
    done = command("train", "lm.yaml", "-o", "one", cwd=folder)
    assert done.returncode == 0, done.stderr
    one, two = folder / "one", folder / "two"
    assert len(losses(two)) == 12
    assert losses(two) == pytest.approx(losses(one), abs=1e-5)
    assert difference(one, two) < 1e-5
    for kind in ("evaluate", "model", "checkpoint", "machine"):
        assert len(events(two, kind)) == len(events(one, kind)) > 0
    assert events(two, "machine")[0]["processes"] == 2
    # One process speaks and writes, and nothing that one alone does not write.
    assert printed.count("perplexity") == 1
    assert [said.count(words) for words in ("finished: two", "Warning")] == [1, 0]
    assert {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()}


@pytest.mark.slow
def test_ctrl_c_ends_all_after_one_step_and_one_process_goes_on(folder, command):
    process = torchrun(folder, "lm.yaml", "-o", "moved", *DIVIDED)
    run = folder / "moved"
    log = run / "log.jsonl"
    while process.poll() is None and not (log.exists() and '"step": 3' in log.read_text()):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate()
    assert said.count("stopped by SIGINT; the state is saved") == 1, said
    reached = len(losses(run))
    assert 3 <= reached < 400
    assert (run / f"state/step-{reached:08}").is_dir()
    for words in (["--resume", "moved"], [str(run / "config.yaml"), "-o", "one"]):
        done = command("train", *words, "--no-test", cwd=folder)
        assert done.returncode == 0, done.stderr
    assert losses(run) == pytest.approx(losses(folder / "one"), abs=1e-4)
    assert difference(run, folder / "one") < 1e-4
