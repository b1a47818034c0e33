"""Texts in a list, not one by itself."""

from __future__ import annotations

from peluche.errors import ConfigError


def check_listed(texts: object) -> None:
    """Refuse a string in the place of several: its characters would be taken for the texts.

    Raises:
        ConfigError: it is one string.
    """
    if isinstance(texts, str):
        raise ConfigError(
            f"one text is given where several are wanted: '{texts[:40]}'",
            remedy="put it in a list: [text]",
        )
