"""Shape annotations are checked at run time in every test; warnings are errors (pyproject)."""

import gc
import os

import torch
from jaxtyping import install_import_hook

install_import_hook(["peluche.nn", "peluche.models", "peluche.objectives"], "beartype.beartype")

# Tests that run side by side share the processors.
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
torch.set_num_threads(max(1, torch.get_num_threads() // WORKERS))


def pytest_collection_finish():
    """What was imported until here need not be searched at each collection of garbage."""
    gc.collect()
    gc.freeze()
