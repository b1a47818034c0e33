"""Figures as files and inside pages, and their colours. The same numbers give the same bytes."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterable
from pathlib import Path

import matplotlib as mpl
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from peluche import files
from peluche.errors import ConfigError

# Scales of lightness that changes evenly, so that they work without colour vision.
WEIGHTS = LinearSegmentedColormap.from_list(
    "weights", ["#f1eee7", "#cfe2d9", "#8cc3bf", "#3f96aa", "#1f6391", "#1d2f63"]
)
SIGNED = LinearSegmentedColormap.from_list(
    "signed", ["#123f70", "#4483b5", "#aecfe0", "#f4f1ea", "#f0caa0", "#cf7a33", "#7c3406"]
)
FORMATS = ("png", "svg", "pdf")
# Dates would make each file another.
WITHOUT_DATE = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def save_figures(figures: Iterable[tuple[str, Figure]], folder: Path) -> list[Path]:
    """Write named figures as PNG and SVG; returns the files."""
    return [
        save_figure(figure, folder / f"{name}.{kind}")
        for name, figure in figures
        for kind in ("png", "svg")
    ]


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure in the format of the file's suffix; returns the file.

    Raises:
        ConfigError: the suffix is not that of a format.
    """
    kind = check_format(path)
    with files.replacing(path) as temporary:
        temporary.write_bytes(rendered(figure, kind))
    return path


def check_format(path: Path) -> str:
    """The kind of picture that a file's name says.

    Raises:
        ConfigError: none that can be drawn.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise ConfigError(
            f"a picture cannot be written as '{path.name}'",
            remedy="end its name in .svg, .png or .pdf",
        )
    return kind


def rendered(figure: Figure, kind: str) -> bytes:
    """A figure in one of `FORMATS`; a character that matplotlib's font lacks is drawn as a box."""
    stream = io.BytesIO()
    with (
        warnings.catch_warnings(),
        mpl.rc_context({"svg.hashsalt": "peluche", "svg.fonttype": "none"}),
    ):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        metadata = WITHOUT_DATE.get(kind)
        figure.savefig(stream, format=kind, dpi=150, bbox_inches="tight", metadata=metadata)
    return stream.getvalue()


def as_data_address(figure: Figure) -> str:
    """A figure as the address of an image that stands inside a page."""
    return "data:image/png;base64," + base64.b64encode(rendered(figure, "png")).decode()
