"""What pages have in common: how templates are filled, and the styles they share."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def environment() -> Environment:
    """Templates that escape what they are given and refuse what they are not."""
    return Environment(
        loader=PackageLoader("peluche.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def assets(*names: str) -> Markup:
    """Style sheets or scripts, one after another, to stand inside a page."""
    folder = files("peluche.reporting") / "templates"
    return Markup("").join(Markup((folder / name).read_text(encoding="utf-8")) for name in names)
