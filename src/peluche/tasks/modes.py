"""Modes of a model while it is asked, not trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout off, and back on if it was on."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
