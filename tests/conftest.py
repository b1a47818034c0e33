"""Shape annotations are checked at run time in every test; warnings are errors (pyproject)."""

import gc
import os
import signal
import subprocess
import sys

import pytest
import torch
from jaxtyping import install_import_hook

import warm

install_import_hook(["peluche.nn", "peluche.models", "peluche.objectives"], "beartype.beartype")

# Tests that run side by side share the processors.
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
torch.set_num_threads(max(1, torch.get_num_threads() // WORKERS))
# Whoever started the tests in the background may have had Ctrl-C ignored, which tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The disk is asked to write thousands of times, and no test pulls the plug.
os.fsync = lambda descriptor: None


def pytest_collection_finish():
    """What was imported until here need not be searched at each collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def warm_program(tmp_path_factory):
    """A `peluche` that does not import anything anew for each command.

    One thread: the models are too small for more, and other processes may be busy.
    """
    folder = tmp_path_factory.mktemp("bin")
    path = str(folder / "socket")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(
        [sys.executable, warm.__file__, path], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout.readline() == "ready\n"
    program = folder / "peluche"
    program.write_text(warm.shim(path), encoding="utf-8")
    program.chmod(0o755)
    yield program
    server.kill()
    server.communicate()


@pytest.fixture(scope="session")
def command(warm_program):
    """Runs `peluche` with these words, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def run(*words, **options):
        return subprocess.run(
            [warm_program, *map(str, words)],
            **{"capture_output": True, "text": True, "timeout": 120, "env": environment} | options,
        )

    return run
