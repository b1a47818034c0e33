"""Trials spread by Ray: the same results, failures and signals as one after another.

Ray itself runs in processes of its own only: it ends the process that it cannot serve.
"""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import yaml

from peluche.errors import CheckpointError, ConfigError
from peluche.hub.run import RunDirectory
from peluche.recipes.recipe import load_recipe
from peluche.studies.spread import by_ray
from peluche.studies.trial import Job, Stopped, one_by_one, result

SMALL = [
    "data.train.size=60",
    "data.validation.size=4",
    "data.test.size=8",
    "tokenizer.vocab_size=120",
    "model.d_model=8",
    "model.heads=2",
    "model.layers=1",
    "model.d_ff=16",
    "training.evaluate_every=1",
    "decoding.max_length=16",
    "training.threads=1",
]


SPREAD = """
import sys
from pathlib import Path
from peluche.errors import PelucheError
from peluche.studies.spread import by_ray
from peluche.studies.trial import Job, Stopped
paths = [Path(path) for path in sys.argv[1:]]
try:
    by_ray([Job(*pair, 1) for pair in zip(paths[::2], paths[1::2])], print)
except Stopped as stop:
    sys.exit(stop.code)
except PelucheError as error:
    sys.exit(str(error))
"""


def spread(*jobs):
    """A process that spreads jobs with the true Ray, in short paths as its sockets need."""
    paths = [str(path) for job in jobs for path in (job.recipe, job.run)]
    return subprocess.Popen(
        [sys.executable, "-c", SPREAD, *paths],
        env={**os.environ, "RAY_TMPDIR": "/tmp", "RAY_USAGE_STATS_ENABLED": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def job(folder, name, *changes):
    recipe = load_recipe("quickstart", [*SMALL, "training.steps=2", *changes, f"name={name}"])
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(recipe.model_dump(mode="json")), encoding="utf-8")
    return Job(file, folder / "runs" / name, recipe.training.threads)


class Task:
    """What `ray.remote` makes of a function; here it runs when it is waited for."""

    def __init__(self, function):
        self.function, self.arguments = function, ()

    def options(self, num_cpus):
        return Task(self.function)

    def remote(self, *arguments):
        self.arguments = arguments
        return self


def wait(tasks, num_returns=1, timeout=None):
    for task in tasks[:num_returns]:
        task.result = task.function(*task.arguments)
    return tasks[:num_returns], tasks[num_returns:]


@pytest.fixture
def engine(monkeypatch):
    """A stand-in for Ray with two processors; the list says what was called."""
    called = []
    module = SimpleNamespace(
        init=lambda **_: called.append("init"),
        shutdown=lambda: called.append("shutdown"),
        nodes=lambda: [{"Resources": {"CPU": 2.0}}, {"Resources": {}}],
        remote=lambda max_retries: Task,
        get=lambda tasks: (
            [one.result for one in tasks] if isinstance(tasks, list) else tasks.result
        ),
        wait=wait,
    )
    monkeypatch.setitem(sys.modules, "ray", module)
    return module, called


@pytest.mark.slow
def test_one_that_fails_stops_no_other(tmp_path, engine):
    good, bad = job(tmp_path, "good"), job(tmp_path, "bad")
    bad.recipe.write_text("name: [", encoding="utf-8")
    said = []
    with pytest.raises(CheckpointError, match=r"bad\.log"):
        by_ray([bad, good], said.append)
    assert said == ["1 of 2: bad failed", "2 of 2: good finished"]
    assert "bad.yaml" in (tmp_path / "runs" / "bad.log").read_text(encoding="utf-8")
    assert result(good.run) is not None
    assert engine[1] == ["init", "shutdown"]


def test_too_many_processors(tmp_path, engine):
    with pytest.raises(ConfigError, match=r"greedy asks for 3 .* more than 2\n.*\n?.*threads=2"):
        by_ray([job(tmp_path, "greedy", "training.threads=3")], print)
    assert engine[1] == ["init", "shutdown"]


def test_ctrl_c_asks_all_to_stop_and_waits_for_them(tmp_path, engine):
    module, called = engine
    runs = tmp_path / "runs"

    def interrupted(tasks, num_returns=1, timeout=None):
        if timeout is not None:
            os.kill(os.getpid(), signal.SIGINT)
            return [], tasks
        called.append(f"wait {num_returns}")
        assert list(runs.glob(".stop-*"))
        # Neither has begun, and neither does now.
        assert [task.function(*task.arguments) for task in tasks] == [143, 143]
        return tasks, []

    module.wait = interrupted
    with pytest.raises(Stopped) as stop:
        by_ray([job(tmp_path, "a"), job(tmp_path, "b")], print)
    assert stop.value.code == 130
    assert called == ["init", "wait 2", "shutdown"]
    assert not list(runs.iterdir())


def test_nothing_to_do_needs_no_engine(engine):
    by_ray([], print)
    assert engine[1] == []


def test_without_ray(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"peluche\[ray\]"):
        by_ray([job(tmp_path, "a")], print)


@pytest.mark.slow
def test_true_ray_gives_what_one_after_another_gives(tmp_path):
    pytest.importorskip("ray")
    jobs = [job(tmp_path, "one"), job(tmp_path, "two", "training.seed=1")]
    process = spread(*jobs)
    said, problems = process.communicate(timeout=300)
    assert process.returncode == 0, problems
    assert sorted(said.split()[-2] for said in said.splitlines()) == ["one", "two"]
    alone = Job(jobs[0].recipe, tmp_path / "alone")
    one_by_one([alone], print)
    found, expected = (RunDirectory.open(run).load_weights() for run in (jobs[0].run, alone.run))
    assert all((found[name] == expected[name]).all() for name in expected)
    assert result(jobs[1].run) is not None


@pytest.mark.slow
def test_true_ray_passes_a_signal_on(tmp_path):
    pytest.importorskip("ray")
    long = job(tmp_path, "long", "training.steps=100000")
    process = spread(long)
    log = long.run / "log.jsonl"
    until = time.monotonic() + 300
    while not (log.exists() and '"evaluate"' in log.read_text()) and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, problems = process.communicate(timeout=60)
    assert process.returncode == 143, problems
    assert result(long.run) is None
    assert RunDirectory.open(long.run).latest_state(print).step > 0
