"""Processes that are killed or fail: the others say so and end, and the run goes on later."""

import os
import signal
import socket
from datetime import timedelta

import pytest

from peluche import processes
from peluche.errors import PeerError
from peluche.training.signals import StopSignals
from together import Job, changed, difference, losses, run, start

DIVIDED = {"parallel": {"kind": "sharded"}}


@pytest.mark.slow
def test_killed_processes_resume_bit_for_bit(decoder_values, tmp_path):
    # Three, since two numbers have the same sum in either order.
    copied = changed(
        decoder_values, model={"dropout": 0.2}, training={"steps": 10, "accumulate": 3}
    )
    divided = changed(copied, training=DIVIDED)
    at_random = start(tmp_path, 3, [Job("divided-both", divided)])
    for line in at_random.stdout:
        if line.strip() == "divided-both 5":
            break
    os.killpg(at_random.pid, signal.SIGKILL)
    at_random.communicate()
    # Each process has one micro-batch of a step.
    left = start(
        tmp_path,
        3,
        [Job("copied-both", copied, failing=(None, 6, "kill"))],
        [Job("copied-one", copied, failing=(1, 6, "kill"))],
        [Job("divided-one", divided, failing=(0, 6, "kill"))],
    )
    _, said = left.communicate()
    assert left.returncode == PeerError.exit_code, said
    for process in ("copied-one 0", "copied-one 2", "divided-one 1"):
        assert f"{process}: another process of this run has ended" in said
    again = [f"{kind}-{which}" for kind in ("copied", "divided") for which in ("both", "one")]
    for name in again:
        assert losses(tmp_path / name)
        assert not (tmp_path / name / "model.safetensors").exists()
    resumed = [Job(name, {}) for name in again]
    run(tmp_path, 3, [*resumed, Job("copied", copied), Job("divided", divided)])
    for name in again:
        whole = tmp_path / name.partition("-")[0]
        assert difference(tmp_path / name, whole) == 0.0
        assert losses(tmp_path / name)[-1] == losses(whole)[-1]


@pytest.mark.slow
def test_when_one_process_fails_the_other_says_so_and_ends(decoder_values, tmp_path):
    short = changed(decoder_values, training={"steps": 3})
    divided = changed(short, training=DIVIDED)
    process = start(
        tmp_path,
        2,
        [Job("first", short, failing=(0, 3, "raise"))],
        [Job("divided", divided, failing=(1, 3, "raise"))],
        [Job("memory", short, failing=(1, 4, "memory"))],
    )
    _, said = process.communicate()
    assert process.returncode == PeerError.exit_code, said
    assert said.count("ValueError: a mistake in one process") == 2
    assert "memory 1: memory ran out in one of several processes" in said
    for other in ("first 1", "divided 0", "memory 0"):
        assert f"{other}: another process of this run has ended" in said
    assert said.count("Traceback") == 2


@pytest.mark.parametrize("rank", [0, 1])
def test_processes_that_do_not_come_are_not_waited_for_for_ever(rank, monkeypatch, capfd):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {
        "RANK": rank,
        "WORLD_SIZE": 2,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "TORCHELASTIC_RUN_ID": "test",
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(processes, "JOINING", timedelta(seconds=1))
    with pytest.raises(PeerError, match="did not meet within 0:00:01") as refused:
        processes.joined.__wrapped__()
    assert f"127.0.0.1:{port}" in str(refused.value)


def test_ctrl_c_that_torchrun_repeats_is_one():
    with StopSignals(repeated=True) as signals:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert signals.received == "SIGINT"
    with StopSignals():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
