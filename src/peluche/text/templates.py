"""Jinja templates that come with models: programs of others, run in a box.

Jinja2's sandbox keeps them from Python and from the machine. What is added here keeps them from
running for ever and from filling the memory: turns of loops, calls of macros, the size of what
operators, filters and methods make and of the output are limited (see `template_limits`), and
seconds, which are looked at in each turn, call and operation.
"""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment, SecurityError
from jinja2.visitor import NodeTransformer

from peluche.errors import CheckpointError, DataError
from peluche.text.template_limits import (
    FILTERS,
    LARGEST,
    NO_FILTERS,
    WIDEST,
    amount,
    check,
    check_amount,
    check_method,
    check_percent,
    concatenated,
    materialised,
)

# Far above what templates of models need: some 10 kB of source, some turns for each message.
LONGEST_SOURCE, MOST_TURNS, MOST_SECONDS = 200_000, 100_000, 10.0
LONGEST_OPTIONS = 200


class Template:
    """A template, compiled.

    Args:
        source: in Jinja2, with what chat templates use of `transformers`: `raise_exception`,
            `strftime_now`, `tojson`, `{% generation %}`, `{% break %}`.
        where: it is from, for messages.

    Raises:
        CheckpointError: it is not a template.
    """

    def __init__(self, source: str, where: object = None) -> None:
        self.where = where
        self._box = _Box(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
        )
        try:
            check(len(source) <= LONGEST_SOURCE, f"it has {len(source):,} characters")
            self._compiled = self._box.from_string(_Watched().visit(self._box.parse(source)))
        except (jinja2.TemplateError, RecursionError, SyntaxError) as error:
            raise CheckpointError(
                f"the model's chat template cannot be read: {error}",
                where=where,
                remedy="get the model again; without a template, use: peluche complete",
            ) from None

    def render(self, values: Mapping[str, Any]) -> str:
        """The text for these values: strings, numbers, lists and dictionaries only.

        Raises:
            DataError: the template refuses them, fails, or does not come to an end.
        """
        self._box.limits.start()
        parts, size = [], 0
        try:
            for part in self._compiled.generate(values):
                parts.append(part)
                size += len(part)
                check(size <= LARGEST, "its output does not end")
        # It is a program: anything may go wrong in it.
        except Exception as error:
            raise DataError(
                f"the model's chat template refuses these messages: {error or type(error)}",
                where=self.where,
                remedy="it may want other roles, or another order of them",
            ) from None
        return "".join(parts)


class _Limits(threading.local):
    """What one rendering has used."""

    turns, deadline = 0, 0.0

    def start(self) -> None:
        self.turns, self.deadline = 0, time.monotonic() + MOST_SECONDS


class _Box(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(["+", "*", "**", "%"])
    concat = staticmethod(concatenated)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.limits = _Limits()
        self.filters["tojson"] = _to_json
        self.filters = {
            name: self._watched(filter, FILTERS.get(name))
            for name, filter in self.filters.items()
            if name not in NO_FILTERS
        }
        del self.globals["lipsum"]
        self.globals |= {"raise_exception": _raise, "strftime_now": _now, "namespace": _Names}

    def turn(self) -> str:
        """Counts a turn of a loop, or a call of a macro."""
        self.limits.turns += 1
        check(self.limits.turns <= MOST_TURNS, f"it takes more than {MOST_TURNS:,} turns")
        self.look_at_the_time()
        return ""

    def look_at_the_time(self) -> None:
        check(time.monotonic() <= self.limits.deadline, "it takes too long")

    def listed(self, value: Any) -> Any:
        """What [], () and {} make."""
        return check_amount(value)

    def call(__self, __context: Any, __called: Any, *values: Any, **named: Any) -> Any:
        __self.look_at_the_time()
        given = materialised(values)
        check_amount((given, named))
        check_method(__called, *given, **named)
        return super().call(__context, __called, *given, **named)

    def _watched(
        self, filter: Callable[..., Any], check_size: Callable[..., None] | None
    ) -> Callable[..., Any]:
        given = hasattr(filter, "jinja_pass_arg")

        @functools.wraps(filter)
        def watched(*values: Any, **named: Any) -> Any:
            self.look_at_the_time()
            if check_size is None:
                return filter(*values, **named)
            made = materialised(values)
            check_size(*made[given:], **named)
            return filter(*made, **named)

        return watched

    def joined(self, *parts: Any) -> str:
        """What ~ makes."""
        self.look_at_the_time()
        return concatenated([str(part) for part in parts])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        self.look_at_the_time()
        sizes = amount(left), amount(right)
        size = sizes[0] * sizes[1] if operator == "*" else sum(sizes)
        check(operator != "**" and size <= LARGEST, f"it makes too much with {operator}")
        if operator == "%" and isinstance(left, str):
            check_percent(left, right)
        return super().call_binop(context, operator, left, right)


class _Watched(NodeTransformer):
    """Has the box count turns, and look at what is joined and at numbers."""

    def visit_For(self, node: nodes.For | nodes.Macro | nodes.CallBlock) -> nodes.Node:
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_ask("turn", [])))
        return node

    visit_Macro = visit_CallBlock = visit_For

    def visit_List(self, node: nodes.List | nodes.Tuple | nodes.Dict) -> nodes.Node:
        self.generic_visit(node)
        stored = isinstance(node, nodes.Tuple) and node.ctx == "store"
        return node if stored else _ask("listed", [node])

    visit_Tuple = visit_Dict = visit_List

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _ask("joined", node.nodes)

    def visit_Const(self, node: nodes.Const) -> nodes.Node:
        check(isinstance(node.value, str) or amount(node.value) <= LARGEST, "a large number")
        return node


class _Generation(Extension):
    """`{% generation %}` marks what a model says, for training. Here it is what it encloses."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Names(jinja2.utils.Namespace):
    """Without names that lead into Python."""

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__()
        for name, value in dict(*values, **named).items():
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if str(name).startswith("_"):
            raise SecurityError(f"a name that begins with _: {name}")
        super().__setitem__(name, check_amount(value))


def _ask(name: str, arguments: list[nodes.Expr]) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(name), arguments, [], None, None)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().strftime(form)


def _to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    check(amount(options.get("indent") or 0) <= WIDEST, "it indents too much")
    check(len(str(options)) <= LONGEST_OPTIONS, "it writes JSON with long separators")
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)
