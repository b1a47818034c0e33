"""How much a template may make: texts, lists, and what filters and methods make of them.

Nobody can stop Python in the middle of an operation, so what it would make is measured before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import GeneratorType
from typing import Any

import jinja2

# Far above what templates need, in characters; every item of a list counts as so many, too.
LARGEST, ITEM = 5_000_000, 100
WIDEST = 16
# What is only of use for pages and tables, and makes much of little.
NO_FILTERS = ("batch", "center", "pprint", "slice", "urlize", "wordwrap", "xmlattr")
NO_METHODS = ("center", "encode", "expandtabs", "ljust", "rjust", "translate", "zfill")


def check(holds: bool, otherwise: str) -> None:
    """Raises jinja2.TemplateError: it does not hold."""
    if not holds:
        raise jinja2.TemplateError(otherwise)


def amount(value: Any) -> int:
    """About how many characters it has in writing, or a number's size; no more than is too much."""
    if isinstance(value, int | float):
        return abs(int(min(max(value, -LARGEST - 1), LARGEST + 1)))
    total, parts = 0, [value]
    # Parts that are there twice count twice: they are written twice.
    while parts and total <= LARGEST:
        part = parts.pop()
        total += len(part) if isinstance(part, str) else ITEM
        if isinstance(part, Mapping):
            parts += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple | set | frozenset):
            parts += part
        elif isinstance(part, jinja2.utils.Namespace):
            # Any other name is looked up among its own.
            parts.append(part._Namespace__attrs)
    return total


def materialised(values: Iterable[Any]) -> list[Any]:
    """Arguments, with lists in place of what filters such as `map` make."""
    return [list(value) if isinstance(value, GeneratorType) else value for value in values]


def check_amount(value: Any) -> Any:
    """The value, if it is not too large."""
    check(amount(value) <= LARGEST, "it makes too large a list")
    return value


def concatenated(parts: Iterable[str]) -> str:
    """What blocks and macros print."""
    texts = list(parts)
    check(sum(map(len, texts)) <= LARGEST, "it makes too long a text")
    return "".join(texts)


def check_replace(text: str, old: str, new: str, count: int | None = None) -> None:
    """Of `replace`, filter and method."""
    times = str(text).count(str(old))
    check(len(text) + times * len(str(new)) <= LARGEST, "it makes too long a text with replace")


def check_join(parts: Iterable[Any], between: str = "", attribute: Any = None) -> None:
    """Of `join`, filter and method."""
    check(hasattr(parts, "__len__"), "it joins what is no list")
    size = amount(parts) + len(parts) * len(str(between))  # type: ignore[arg-type]
    check(size <= LARGEST, "it makes too long a text with join")


def check_indent(text: str, width: int | str = 4, *which: Any, **named: Any) -> None:
    """Of the filter `indent`."""
    check(amount(width) <= WIDEST, "it indents too much")


def check_percent(form: str, *values: Any, **named: Any) -> None:
    """Of the operator % and the filter `format`."""
    size = len(form) + form.count("%") * amount([values, named])
    check(not re.search(r"%[^a-zA-Z%]*(\*|\d{3})", form), "it formats with a large width")
    check(size <= LARGEST, "it makes too long a text by a format")


def check_format(form: str, *values: Any, **named: Any) -> None:
    """Of the methods `format` and `format_map`."""
    plain = form.replace("{{", "").replace("}}", "")
    check(not re.search(r"\{[^{}]*(\{|:[^{}]*\d{3})", plain), "it formats with a large width")
    size = len(form) + form.count("{") * amount([values, named])
    check(size <= LARGEST, "it makes too long a text by a format")


def check_letters(value: Any, *others: Any, **named: Any) -> None:
    """Of filters that make lists: a text's letters are many items."""
    size = ITEM * len(value) if isinstance(value, str) else 0
    check(size <= LARGEST, "it makes too large a list")


FILTERS: dict[str, Callable[..., None]] = {
    "replace": check_replace,
    "join": check_join,
    "indent": check_indent,
    "format": check_percent,
    **dict.fromkeys(("groupby", "list", "map", "sort", "unique"), check_letters),
}


def check_method(called: Any, *values: Any, **named: Any) -> None:
    """Of a call, if it is one of a string's methods."""
    called = getattr(called, "__wrapped__", called)
    text, name = getattr(called, "__self__", None), getattr(called, "__name__", "")
    if not isinstance(text, str):
        return
    check(name not in NO_METHODS, f"it calls {name}, which templates may not")
    if name == "replace":
        check_replace(text, *values, **named)
    elif name == "join":
        for parts in values:
            check_join(parts, text)
    elif name in ("format", "format_map"):
        check_format(text, *values, **named)
