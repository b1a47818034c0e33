"""Random JSON schemas, drawn from a seed: nested objects and arrays, alternatives, references,
bounded numbers, patterns, formats, and properties that may be left out.
"""

from __future__ import annotations

import random
from typing import Any

Schema = dict[str, Any]

NAMES = ["name", "age", "id", "tags", "größe", "e-mail", "a b", "x", "kind", "items", '\u00e9"\\']
WORDS = [
    "red",
    "green",
    "blue",
    "",
    "no",
    "true",
    "naïve",
    "日本",
    "two words",
    "tab\there",
    'q"uote',
]
PATTERNS = [
    "^[a-z]{2,5}$",
    "^\\d{3}-\\d{4}$",
    "^(foo|bar)+$",
    "^[A-F0-9]{2}(:[A-F0-9]{2}){1,5}$",
    "^v\\d+\\.\\d+(\\.\\d+)?$",
    '^[^aeiou"]{1,6}$',
    "[.!?]$",
    "^[A-Z]?[a-z]{0,8}$",
]
FORMATS = ["date", "time", "date-time", "uuid", "ipv4"]


def random_schema(seed: int) -> Schema:
    """A schema that some JSON is valid by; equal seeds give equal schemas."""
    draw = random.Random(seed)
    shared = {f"part{number}": _any(draw, 1, []) for number in range(draw.choice([0, 0, 1, 2]))}
    names = list(shared)
    if draw.random() < 0.15:
        # A tree: every node is an object that may hold more of its kind.
        children = {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2}
        shared["tree"] = {
            "type": "object",
            "properties": {"value": _any(draw, 0, names), "children": children},
            "required": ["value"],
            "additionalProperties": False,
        }
        names.append("tree")
    root = draw.choice([_object, _object, _object, _array, _any])(draw, 3, names)
    if shared:
        root = (
            {**root, "$defs": shared} if "$ref" not in root else {"allOf": [root], "$defs": shared}
        )
    return root


def _any(draw: random.Random, depth: int, shared: list[str]) -> Schema:
    flat = [_string, _string, _integer, _number, _enumeration, _constant, _simple]
    deep = [_object, _object, _array, _alternatives]
    if shared and draw.random() < 0.2:
        return {"$ref": f"#/$defs/{draw.choice(shared)}"}
    return draw.choice(flat + deep if depth else flat)(draw, depth, shared)


def _object(draw: random.Random, depth: int, shared: list[str]) -> Schema:
    names = draw.sample(NAMES, draw.randint(0, 4))
    schema: Schema = {
        "type": "object",
        "properties": {name: _any(draw, depth - 1, shared) for name in names},
        "required": [name for name in names if draw.random() < 0.6],
    }
    more = draw.random()
    if more < 0.7:
        schema["additionalProperties"] = False
    elif more < 0.9:
        schema["additionalProperties"] = _any(draw, 0, [])
    if not names and draw.random() < 0.5:
        schema = {"type": "object", "additionalProperties": _any(draw, 0, [])}
    return schema


def _array(draw: random.Random, depth: int, shared: list[str]) -> Schema:
    least = draw.randint(0, 2)
    schema: Schema = {"type": "array", "items": _any(draw, depth - 1, shared)}
    if least:
        schema["minItems"] = least
    if draw.random() < 0.8:
        schema["maxItems"] = least + draw.randint(0, 3)
    if draw.random() < 0.2:
        schema["prefixItems"] = [_any(draw, 0, shared) for _ in range(draw.randint(1, 2))]
        schema["maxItems"] = max(schema.get("maxItems", 0), 2)
    return schema


def _alternatives(draw: random.Random, depth: int, shared: list[str]) -> Schema:
    return {"anyOf": [_any(draw, depth - 1, shared) for _ in range(draw.randint(2, 3))]}


def _string(draw: random.Random, depth: int, shared: list[str]) -> Schema:
    schema: Schema = {"type": "string"}
    kind = draw.random()
    if kind < 0.3:
        schema["pattern"] = draw.choice(PATTERNS)
    elif kind < 0.45:
        schema["format"] = draw.choice(FORMATS)
    elif kind < 0.9:
        schema["minLength"] = draw.randint(0, 3)
        schema["maxLength"] = schema["minLength"] + draw.randint(0, 9)
    return schema


def _integer(draw: random.Random, depth: int, shared: list[str]) -> Schema:
    schema: Schema = {"type": "integer"}
    low = draw.choice([0, 1, -5, -1000, 17, 10**6])
    kind = draw.random()
    if kind < 0.6:
        schema |= {"minimum": low, "maximum": low + draw.choice([0, 3, 98, 12345])}
    elif kind < 0.7:
        schema["multipleOf"] = draw.choice([2, 3, 10])
    elif kind < 0.9:
        schema[draw.choice(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"])] = low
    return schema


def _number(draw: random.Random, depth: int, shared: list[str]) -> Schema:
    schema: Schema = {"type": "number"}
    low = draw.choice([0, -1.5, 0.25, 3, -200])
    if draw.random() < 0.7:
        high = low + draw.choice([0.5, 1, 99.9])
        schema[draw.choice(["minimum", "exclusiveMinimum"])] = low
        schema[draw.choice(["maximum", "exclusiveMaximum"])] = high
    return schema


def _enumeration(draw: random.Random, depth: int, shared: list[str]) -> Schema:
    values = [*WORDS, 0, 1, -2.5, True, None, [], {"a": [1, "b"]}]
    return {"enum": draw.sample(values, draw.randint(1, 5))}


def _constant(draw: random.Random, depth: int, shared: list[str]) -> Schema:
    return {"const": draw.choice([*WORDS, 42, -1.25, False, None, [1, 2], {"k": "v"}])}


def _simple(draw: random.Random, depth: int, shared: list[str]) -> Schema:
    return {"type": draw.choice(["boolean", "null", ["integer", "null"], ["string", "boolean"]])}
