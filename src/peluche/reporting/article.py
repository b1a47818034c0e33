"""A page of sections with tables and pictures, its pictures as files, and its numbers as JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

import peluche
from peluche import files
from peluche.reporting.figures import save_figures
from peluche.reporting.rendering import assets, environment

PAGE, NUMBERS, PICTURES = "index.html", "study.json", "pictures"


@dataclass(frozen=True)
class Picture:
    """A figure, the name of its files, and what it shows."""

    name: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Table:
    """Rows of readable cells; `numbers` stand right, in all columns but the first."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: bool = True


@dataclass(frozen=True)
class Section:
    """One part of a page: text, then a table, then pictures."""

    title: str
    paragraphs: Sequence[str] = ()
    table: Table | None = None
    pictures: Sequence[Picture] = ()


def write_article(
    folder: Path,
    title: str,
    lead: str,
    sections: Sequence[Section],
    numbers: Mapping[str, Any],
) -> Path:
    """Write FOLDER/index.html, FOLDER/study.json and FOLDER/pictures; returns the page.

    The page holds its pictures and fetches nothing.
    """
    shown: dict[str, str] = {}
    for section in sections:
        for picture in section.pictures:
            _, svg = save_figures([(picture.name, picture.figure)], folder / PICTURES)
            shown[picture.name] = base64.b64encode(svg.read_bytes()).decode()
    page = (
        environment()
        .get_template("article.html.j2")
        .render(
            title=title,
            lead=lead,
            sections=sections,
            shown=shown,
            style=assets("base.css", "report.css", "article.css"),
            version=peluche.__version__,
        )
    )
    files.write_text(folder / NUMBERS, json.dumps(numbers, indent=1, ensure_ascii=False) + "\n")
    files.write_text(folder / PAGE, Markup(page))
    return folder / PAGE
