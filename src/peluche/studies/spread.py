"""Trials spread over the processors of a machine, or the machines of a cluster, by Ray."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peluche.errors import ConfigError
from peluche.recipes.base import Say
from peluche.studies.trial import INTERRUPTED, TERMINATED, Job, Stopped, check_ended


def by_ray(jobs: Sequence[Job], say: Say) -> None:
    """Run as many trials at once as there are processors for; the others wait.

    A trial takes the processors that its recipe asks for (`training.threads`), one if it asks for
    none. Ray connects to the cluster that RAY_ADDRESS names, or starts one of this machine's
    processors. The machines of a cluster need peluche and a file system that they share. What a
    trial prints goes to a file beside its run. One that fails does not keep others from running.

    Raises:
        ConfigError: Ray is not installed, or a trial asks for more than any machine has.
        Stopped: by Ctrl-C or SIGTERM; every trial that was running has saved its state.
        CheckpointError: a trial failed or was killed; all others have ended.
    """
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "spreading runs needs Ray, which is not installed",
            remedy="pip install 'peluche[ray]', or leave out --ray",
        ) from error

    if not jobs:
        return
    jobs = [
        Job(job.recipe.resolve(), run := job.run.resolve(), job.threads, run.with_suffix(".log"))
        for job in jobs
    ]
    jobs[0].run.parent.mkdir(parents=True, exist_ok=True)
    ray.init(log_to_driver=False, logging_level=logging.ERROR)
    try:
        _check_processors(jobs, max(node["Resources"].get("CPU", 0) for node in ray.nodes()))
        with _signals() as heard:
            codes = _run_all(ray, jobs, say, heard)
    finally:
        ray.shutdown()
    for job, code in zip(jobs, codes, strict=True):
        check_ended(job, code)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Keep SIGINT and SIGTERM in a list: an exception would break off Ray's own code."""
    heard: list[int] = []
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, lambda number, _: heard.append(number)) for kind in kinds]
    try:
        yield heard
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


def _check_processors(jobs: Sequence[Job], most: float) -> None:
    for job in jobs:
        if _processors(job) > most:
            raise ConfigError(
                f"{job.run.name} asks for {job.threads} processors, and no machine has more "
                f"than {most:g}",
                remedy=f"give training.threads={most:g}",
            )


def _processors(job: Job) -> int:
    return job.threads or 1


def _run_all(ray: Any, jobs: Sequence[Job], say: Say, heard: Sequence[int]) -> list[int]:
    """Exit codes; `heard` fills with signals."""
    start = ray.remote(max_retries=0)(_run)
    # Trials look for this file, which all machines see, to know that they are to stop.
    stop = jobs[0].run.with_name(f".stop-{os.getpid()}")
    tasks = [start.options(num_cpus=_processors(job)).remote(job, stop) for job in jobs]
    names = {task: job.run.name for task, job in zip(tasks, jobs, strict=True)}
    running = tasks
    try:
        while running and not heard:
            found, running = ray.wait(running, timeout=1.0)
            for done in found:
                how = "finished" if ray.get(done) == 0 else "failed"
                say(f"{len(tasks) - len(running)} of {len(tasks)}: {names[done]} {how}")
        if running:
            stop.touch()
            ray.wait(running, num_returns=len(running))  # they are saving
            raise Stopped(INTERRUPTED if heard[0] == signal.SIGINT else TERMINATED)
    finally:
        stop.unlink(missing_ok=True)
    codes: list[int] = ray.get(tasks)
    return codes


def _run(job: Job, stop: Path) -> int:
    """On the machine that is to do it: the trial's exit code."""
    assert job.log is not None
    if stop.exists():
        return TERMINATED
    job.log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(_processors(job))}
    with job.log.open("ab") as log:
        process = subprocess.Popen(job.command(), stdout=log, stderr=log, env=environment)
        while process.poll() is None:
            if stop.exists():
                process.terminate()
                return process.wait()
            time.sleep(0.2)
    return process.returncode
