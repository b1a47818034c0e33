"""Killed at any moment, a run directory holds what was there before or what was being written.

Both tests run a program of their own, which forks: importing torch once for all the kills.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMON = """
import json, os, random, shutil, signal, sys, time
from pathlib import Path
import torch
from peluche.hub.run import RunDirectory
from peluche.text.tokenizer import TokenizerConfig

torch.set_num_threads(1)
folder = Path(sys.argv[1])

def fail_if_said(message):
    raise SystemExit(message)

def weights(value, size=1000):
    return {"w": torch.full((size,), float(value))}

def leftovers(path):
    return [found.name for found in path.rglob(".*.tmp")]
"""

AT_EVERY_STEP = """
# A killed process takes nothing with it that only a power cut would; waiting for the disk is slow.
os.fsync = lambda descriptor: None

def die_before_call(number):
    # Every change to the disk that Python makes is announced before it is made.
    count = 0
    def hook(event, arguments):
        nonlocal count
        changes = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate")
        if event in changes and str(arguments[0]).startswith(str(folder)):
            count += 1
            if count == number:
                os._exit(9)
    sys.addaudithook(hook)

def crash_everywhere(prepare, act, check):
    number = 0
    while True:
        number += 1
        work = folder / f"{act.__name__}-{number}"
        prepare(work)
        child = os.fork()
        if child == 0:
            die_before_call(number)
            act(work)
            os._exit(0)
        crashed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        check(work, crashed)
        shutil.rmtree(work)
        if not crashed:
            return number - 1

tokenizers = {name: TokenizerConfig(kind="word").build([name]) for name in "ab"}

def nothing(work):
    work.mkdir()

def create(work):
    RunDirectory.create(work / "run", {"a": 1})

def check_create(work, crashed):
    if not (work / "run" / "config.yaml").exists():
        assert crashed
        create(work)
    assert RunDirectory.open(work / "run").config == {"a": 1}

def with_weights(work):
    create(work)
    RunDirectory.open(work / "run").save_weights(weights(1))

def save_weights(work):
    RunDirectory.open(work / "run").save_weights(weights(2))

def check_weights(work, crashed):
    run = RunDirectory.open(work / "run")
    assert run.weights() == ["model"]
    value = run.load_weights()["w"][0].item()
    assert value in ((1, 2) if crashed else (2,)), value
    run.save_weights(weights(3))
    assert RunDirectory.open(work / "run").load_weights()["w"][0] == 3
    assert not leftovers(run.path), leftovers(run.path)

def with_tokenizer(work):
    create(work)
    RunDirectory.open(work / "run").save_tokenizer(tokenizers["a"])

def save_tokenizer(work):
    RunDirectory.open(work / "run").save_tokenizer(tokenizers["b"])

def check_tokenizer(work, crashed):
    run = RunDirectory.open(work / "run")
    tokens = run.tokenizer().tokens()
    known = {name for name in tokenizers if tokens == tokenizers[name].tokens()}
    assert known == {"b"} or crashed and known == {"a"}, known
    run.save_tokenizer(tokenizers["a"])
    assert run.tokenizer().tokens() == tokenizers["a"].tokens()
    assert not leftovers(run.path), leftovers(run.path)

def with_states(work):
    create(work)
    for step in (100, 200):
        save(work, step, 1)

def save(work, step, attempt):
    value = {"model": weights(step + attempt), "optimizer": weights(attempt)}
    RunDirectory.open(work / "run").save_state(step, value, {"attempt": attempt})

def save_next(work):
    save(work, 300, 2)

def save_again(work):
    save(work, 200, 2)

def check_state(step_when_done):
    def check(work, crashed):
        run = RunDirectory.open(work / "run")
        state = run.latest_state(fail_if_said)
        done = (step_when_done, 2)
        found = (state.step, state.record["attempt"])
        assert found in ((200, 1), done) if crashed else found == done, found
        assert state.tensors["model"]["w"][0] == sum(found)
        assert state.tensors["optimizer"]["w"][0] == found[1]
        for visible in run.path.glob("state/step-*"):
            assert len(list(visible.iterdir())) == 4, "half a state is visible"
        save(work, 400, 3)
        assert run.latest_state(fail_if_said).step == 400
        assert not leftovers(run.path), leftovers(run.path)
    return check

print(json.dumps({
    "create": crash_everywhere(nothing, create, check_create),
    "save_weights": crash_everywhere(with_weights, save_weights, check_weights),
    "save_tokenizer": crash_everywhere(with_tokenizer, save_tokenizer, check_tokenizer),
    "save_next": crash_everywhere(with_states, save_next, check_state(300)),
    "save_again": crash_everywhere(with_states, save_again, check_state(200)),
}))
"""

AT_RANDOM = """
def train(run, start, acknowledge):
    step = start
    while True:
        step += 1
        run.log({"event": "step", "step": step})
        groups = {"model": weights(step, 200_000), "optimizer": weights(-step, 400_000)}
        run.save_state(step, groups, {"step": step})
        run.save_weights(weights(step, 200_000))
        os.write(acknowledge, f"{step}\\n".encode())

chance = random.Random(1)
run = RunDirectory.create(folder / "run", {})
saved, unfinished, kills = 0, 0, 0
deadline = time.monotonic() + 60
# A slow disk gets more kills, so that some fall into every part of the work.
while kills < 20 or ((saved == 0 or unfinished == 0) and time.monotonic() < deadline):
    kills += 1
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        train(run, saved, writing)
    os.close(writing)
    time.sleep(chance.uniform(0.0, 0.2))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    acknowledged = os.read(reading, 65536).split()
    os.close(reading)
    least = int(acknowledged[-1]) if acknowledged else saved
    unfinished += bool(leftovers(run.path))
    state = run.latest_state(fail_if_said)
    if state is None:
        assert least == 0
        continue
    assert least <= state.step <= least + 1, (least, state.step)
    assert state.record == {"step": state.step}
    assert (state.tensors["model"]["w"] == state.step).all()
    assert (state.tensors["optimizer"]["w"] == -state.step).all()
    if run.weights():
        value = run.load_weights()["w"]
        assert value[0] <= state.step and (value == value[0]).all()
    steps = [event["step"] for event in run.events() if event["event"] == "step"]
    assert max(steps) in (state.step, state.step + 1), (max(steps), state.step)
    saved = state.step
    run.log({"event": "resume", "step": saved})
print(json.dumps({"saved": saved, "unfinished": unfinished}))
"""


def run_program(program: str, folder: Path) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", COMMON + program, str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def test_a_crash_before_any_change_to_the_disk(tmp_path: Path) -> None:
    crashes = run_program(AT_EVERY_STEP, tmp_path)
    # The hook has to have seen the steps, else nothing was tested.
    assert crashes["create"] >= 6
    assert crashes["save_weights"] >= 8
    assert crashes["save_tokenizer"] >= 8
    assert crashes["save_next"] >= 12
    assert crashes["save_again"] >= 12


def test_kill_at_random_moments(tmp_path: Path) -> None:
    result = run_program(AT_RANDOM, tmp_path)
    assert result["saved"] > 0
    assert result["unfinished"] > 0
