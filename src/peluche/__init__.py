"""peluche: transformers and language models, small enough to read, fast enough to use."""

from __future__ import annotations

import os
from typing import Any

# Threads of torch's OpenMP spin while they wait for each other, which makes a machine that also
# does something else several times slower. Read when torch is loaded, so it has to be set here.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(model: str, **options: Any) -> Any:
    """Open a trained model by run directory, exported directory or catalogue name.

    What comes back does what the model was trained for: `translate`, `classify`, ...

    >>> peluche.load("runs/quickstart").translate(["A cute teddy bear is reading."])
    ['Un ours en peluche mignon lit.']

    Raises:
        CheckpointError: if `model` is none of these, or is damaged.
    """
    from peluche.tasks.load import load_task

    return load_task(model, **options)
