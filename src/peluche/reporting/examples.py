"""What was made of the test set, kept in the run so that its report can show them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from peluche import files
from peluche.errors import DataError
from peluche.hub.run import RunDirectory
from peluche.reporting.differences import Segment, clip, mark

FIELDS = ("source", "reference", "output")

Examples = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Shown:
    """One example as the report shows it; words that the other side lacks are marked."""

    source: str
    reference: tuple[Segment, ...]
    output: tuple[Segment, ...]
    right: bool


def save_examples(run: RunDirectory, examples: Examples) -> Path:
    """Keep examples as RUN/report/examples.jsonl; returns that path.

    Args:
        examples: mappings with "source", "reference" and "output": what went in, what should come
            out, what came out.
    """
    path = _path(run)
    lines = [
        json.dumps({field: example[field] for field in FIELDS}, ensure_ascii=False) + "\n"
        for example in examples
    ]
    files.write_text(path, "".join(lines))
    return path


def load_examples(run: RunDirectory) -> list[dict[str, str]]:
    """The examples kept in a run; none if there are none.

    Raises:
        DataError: when a line is not what `save_examples` writes.
    """
    path = _path(run)
    if not path.exists():
        return []
    found = []
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                values = json.loads(line)
                found.append({field: str(values[field]) for field in FIELDS})
            except (ValueError, KeyError, TypeError):
                raise DataError(
                    f"this line is not an object with {', '.join(FIELDS)}",
                    where=f"{path}:{number}",
                    remedy="remove the file; the report is then made without examples",
                ) from None
    return found


def choose(examples: Examples, wrong: int, right: int) -> tuple[list[Shown], list[Shown]]:
    """Some wrong and some right examples, each taken at even distances, not picked."""
    sides: tuple[list[Shown], list[Shown]] = ([], [])
    for kind, most in enumerate((wrong, right)):
        matching = [example for example in examples if is_right(example) == bool(kind)]
        sides[kind].extend(_shown(example) for example in _spread(matching, most))
    return sides


def is_right(example: Mapping[str, str]) -> bool:
    """Whether the output is the reference, apart from spaces at the ends."""
    return example["output"].strip() == example["reference"].strip()


def _spread(examples: Examples, most: int) -> Examples:
    count = min(most, len(examples))
    return [examples[number * len(examples) // count] for number in range(count)]


def _shown(example: Mapping[str, str]) -> Shown:
    reference, output = example["reference"], example["output"]
    return Shown(
        source=clip(example["source"]),
        reference=tuple(mark(reference, output)),
        output=tuple(mark(output, reference)),
        right=is_right(example),
    )


def _path(run: RunDirectory) -> Path:
    return run.report_path / "examples.jsonl"
