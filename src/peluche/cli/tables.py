"""Tables of scores, for people; objects, for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def print_table(rows: Sequence[dict[str, Any]], against: str | None = None) -> None:
    """Scores as JSON-able records, one a line, aligned."""
    extra = [f"from {against}", "95 % interval", "p-value"] if against else []
    table = [["metric", "score", "95 % interval", *extra, "signature"]]
    for row in rows:
        cells = [row["metric"], f"{row['score']:.2f}", _interval(row)]
        if test := row.get("against"):
            cells += [f"{test['difference']:+.2f}", _interval(test), f"{test['p_value']:.4f}"]
        table.append([*cells, row["signature"]])
    print_columns(table)


def print_columns(table: Sequence[Sequence[str]]) -> None:
    """Rows of cells, a line each, aligned."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(map(str.ljust, line, widths)).rstrip())


def print_json(*records: Any) -> None:
    """Plain values, one object a line."""
    for record in records:
        print(json.dumps(record, ensure_ascii=False))


def _interval(found: dict[str, Any]) -> str:
    return "[{:.2f}, {:.2f}]".format(*found["ci"]) if found["ci"] else "-"


def print_tests(tests: Sequence[Mapping[str, Any]], run: str) -> None:
    """Comparisons of a run with others as JSON-able records, one a line, aligned."""
    rows = [["beside", "metric", "score", f"{run} has", "95 % interval", "p-value"]]
    for test in tests:
        low, high = test["ci"]
        rows.append(
            [
                test["baseline"],
                test["metric"],
                f"{test['baseline_score']:.2f}",
                f"{test['difference']:+.2f}",
                f"[{low:+.2f}, {high:+.2f}]",
                f"{test['p_value']:.4f}",
            ]
        )
    print_columns(rows)
