"""What pages have in common: how templates are filled, and the styles they share."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


def environment() -> Environment:
    """Templates that escape what they are given and refuse what they are not."""
    templates = Environment(
        loader=PackageLoader("peluche.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["piece"] = _piece
    return templates


def assets(*names: str) -> Markup:
    """Style sheets or scripts, one after another, to stand inside a page."""
    folder = files("peluche.reporting") / "templates"
    return Markup("").join(Markup((folder / name).read_text(encoding="utf-8")) for name in names)


def inert_json(values: dict[str, Any]) -> Markup:
    """JSON that cannot end the script element it stands in, whatever the sentence says."""
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e"))


def _piece(text: str) -> Markup:
    """A token with its space marks toned down."""
    mark = Markup('<span class="space">▁</span>')
    return mark.join(escape(part) for part in text.split("▁"))
