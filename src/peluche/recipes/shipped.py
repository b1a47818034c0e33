"""The recipes that come with peluche."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def shipped() -> dict[str, Path]:
    """The recipes that come with peluche, by name."""
    folder = Path(str(resources.files("peluche.recipes")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
