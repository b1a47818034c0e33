"""JSON schemas as llguidance can follow them."""

from __future__ import annotations

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


def without_exclusive_bounds(schema: Any) -> Any:
    """A schema whose numbers keep a distance from bounds that exclude themselves.

    All that is valid by it is valid by the schema given. llguidance 1.9 may write the bound itself:
    0 for {"exclusiveMinimum": 0, "maximum": 0.5}. Integers are not concerned.

    Raises:
        ConfigError: a bound is a boolean, which llguidance would pass over.
    """
    if isinstance(schema, list):
        return [without_exclusive_bounds(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = dict(schema)
    for keyword in SCHEMAS & schema.keys():
        value = schema[keyword]
        if keyword in BY_NAME and isinstance(value, dict):
            found[keyword] = {name: without_exclusive_bounds(each) for name, each in value.items()}
        else:
            found[keyword] = without_exclusive_bounds(value)
    if schema.get("type") == "integer":
        return found
    for keyword, bound, sign, inner in (
        ("exclusiveMinimum", "minimum", 1, max),
        ("exclusiveMaximum", "maximum", -1, min),
    ):
        limit = found.get(keyword)
        if isinstance(limit, bool):
            raise ConfigError(
                f"{keyword}: {str(limit).lower()} is how draft 4 of JSON Schema had it",
                where="the guide of this request",
                remedy=f'give the bound itself, as in "{keyword}": 0',
            )
        if isinstance(limit, int | float):
            del found[keyword]
            limit += sign * max(NEAREST, NEAREST_SHARE * abs(limit))
            found[bound] = inner(found.get(bound, limit), limit)
    return found
