"""JSON schemas as llguidance can follow them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from peluche.errors import ConfigError

# Keywords whose value is a schema, or several of them in a list or by name
# (JSON Schema 2020-12, core, §10.2 and §10.3).
SCHEMAS = {
    "$defs",
    "additionalProperties",
    "allOf",
    "anyOf",
    "definitions",
    "items",
    "oneOf",
    "patternProperties",
    "prefixItems",
    "properties",
}
BY_NAME = {"$defs", "definitions", "patternProperties", "properties"}
# How near a number comes to a bound that excludes itself: absolutely, and in relation to it.
NEAREST, NEAREST_SHARE = 1e-9, 1e-12


# What dates and times (RFC 3339, §5.7) keep to besides what llguidance's formats do: a 29th of
# February is one of a leap year, and a second 60 the last of a day of UTC.
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
_OTHER_DAY = "[0-9]{4}-(?:(?:0[13-9]|1[0-2])-|02-(?:[01][0-9]|2[0-8]))"
_DAY = f"^(?:{_OTHER_DAY}|{_LEAP_YEAR}-02-29)"
_SECOND = r"(?:[0-9]{2}:[0-9]{2}:[0-5]|23:59:60(?:\.[0-9]+)?[Zz])"
FORMATS = {"date": (_DAY,), "time": (f"^{_SECOND}",), "date-time": (_DAY, f"[Tt]{_SECOND}")}


# In a regular expression: something escaped, or a class of characters.
_CLASS = re.compile(r"\\.|\[\^?(?:\\.|[^\]\\])*\]", re.DOTALL)


def followable(schema: Any) -> Any:
    """A schema that llguidance 1.9 keeps to; all that is valid by it is valid by the one given.

    - A number keeps a distance from a bound that excludes itself, which llguidance may write:
      0 for {"exclusiveMinimum": 0, "maximum": 0.5}. Integers are not concerned.
    - What a pattern takes for "any character but these" leaves out U+0000 too: where such a class
      holds all control characters, llguidance takes quotation marks and backslashes to be in it.
    - Dates have a 29th of February in leap years alone, times a leap second only where there can be
      one; llguidance allows both anywhere.

    Raises:
        ConfigError: a bound is a boolean, which llguidance would pass over.
    """
    if isinstance(schema, list):
        return [followable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = dict(schema)
    for keyword in SCHEMAS & schema.keys():
        value = schema[keyword]
        if keyword in BY_NAME and isinstance(value, dict):
            change = _without_nul if keyword == "patternProperties" else str
            found[keyword] = {change(name): followable(each) for name, each in value.items()}
        else:
            found[keyword] = followable(value)
    if isinstance(pattern := schema.get("pattern"), str):
        found["pattern"] = _without_nul(pattern)
    more = FORMATS.get(str(schema.get("format")))
    if more and isinstance(others := found.get("allOf", []), list):
        found["allOf"] = [*others, *({"pattern": pattern} for pattern in more)]
    if schema.get("type") != "integer":
        _move_bound(found, "exclusiveMinimum", "minimum", 1, max)
        _move_bound(found, "exclusiveMaximum", "maximum", -1, min)
    return found


def _without_nul(pattern: str) -> str:
    def change(match: re.Match[str]) -> str:
        text = match[0]
        return f"{text[:-1]}\\x00]" if text.startswith("[^") else text

    return _CLASS.sub(change, pattern)


def _move_bound(
    schema: dict[str, Any], exclusive: str, inclusive: str, sign: int, inner: Callable[..., float]
) -> None:
    limit = schema.get(exclusive)
    if isinstance(limit, bool):
        raise ConfigError(
            f"{exclusive}: {str(limit).lower()} is how draft 4 of JSON Schema had it",
            where="the guide of this request",
            remedy=f'give the bound itself, as in "{exclusive}": 0',
        )
    if isinstance(limit, int | float):
        del schema[exclusive]
        limit += sign * max(NEAREST, NEAREST_SHARE * abs(limit))
        schema[inclusive] = inner(schema.get(inclusive, limit), limit)
