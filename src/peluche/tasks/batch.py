"""Batch files: requests in, one JSON object a line; results out, likewise; a killed one goes on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from peluche.errors import DataError, PelucheError
from peluche.generation.sampling import SamplingParameters
from peluche.tasks.generate import TextGenerator
from peluche.tasks.text_requests import NOT_SEARCHED, SEARCHING, TextRequest

# How `_record` begins, as JSON.
BEGINNING = b'{"index": '


class Done(NamedTuple):
    """What a record of an output says of its line.

    Attributes:
        prompt: None if the line was refused.
    """

    prompt: Any
    failed: bool


def run_batch(
    generator: TextGenerator,
    lines: Iterable[str],
    defaults: Mapping[str, Any],
    *,
    done: Mapping[int, Done] = {},
    ordered: bool = True,
) -> Iterator[dict[str, Any]]:
    """The record of each line: its `index`, from 0 on, and what `Generated.as_json` gives.

    A line is an object with a `prompt` and any keys of `TextRequest` and `SamplingParameters`; its
    `id`, if it has one, comes back. What fails has an `error` in its record and stops nobody. Blank
    lines have no record. Records have the same keys, but for `error` and those that were asked for.

    Args:
        defaults: of the keys that a line does not have.
        done: lines that are passed over.
        ordered: as the lines are, and not as they are done.

    Raises:
        DataError: what is `done` is not of these lines, or the first line is no object at all.
    """
    passed = set(done)
    found = _records(generator, lines, defaults, done, passed)
    if not ordered:
        yield from found
        return
    waiting: dict[int, dict[str, Any]] = {}
    due = 0
    for record in found:
        waiting[record["index"]] = record
        while due in waiting or due in passed:
            if due in waiting:
                yield waiting.pop(due)
            due += 1


def _records(
    generator: TextGenerator,
    lines: Iterable[str],
    defaults: Mapping[str, Any],
    done: Mapping[int, Done],
    passed: set[int],
) -> Iterator[dict[str, Any]]:
    names: dict[int, Any] = {}
    refused: list[dict[str, Any]] = []

    def requests() -> Iterator[tuple[int, TextRequest]]:
        index = -1
        for index, line in enumerate(lines):
            if index == 0 and not done and line.strip() and not line.lstrip().startswith("{"):
                raise DataError(
                    "the batch file is not one JSON object a line",
                    where=f"line 1: '{line[:40]}'",
                    remedy='write {"prompt": "…"} on each line',
                )
            if index in done:
                if not _is_of(done[index], line):
                    raise _changed(index)
                continue
            if not line.strip():
                passed.add(index)
                continue
            prompt = None
            try:
                values = _object(line)
                prompt = values.get("prompt")
                if "id" in values:
                    names[index] = values.pop("id")
                values = {"stream": index, **_usual(defaults, values), **values}
                request = TextRequest.flat(values)
            except PelucheError as error:
                refused.append(_record(index, names, _refused(prompt, error)))
            else:
                yield index, request
        if max(done, default=-1) > index:
            raise _changed(max(done))

    for index, result in generator.finished(requests()):
        while refused:
            yield refused.pop(0)
        yield _record(index, names, result.as_json())
    yield from refused


def _usual(defaults: Mapping[str, Any], values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Those of the options that go with what a line says of a search."""
    if not values.keys() & SEARCHING:
        return defaults
    without = set(SEARCHING)
    if values.get("penalty_alpha") is not None or values.get("beams", 1) != 1:
        without |= {*SamplingParameters.model_fields, *NOT_SEARCHED}
    return {key: value for key, value in defaults.items() if key not in without}


def _refused(prompt: Any, error: PelucheError) -> dict[str, Any]:
    """As `Generated.as_json`; of what is no text, nothing is said."""
    return {
        "prompt": prompt if isinstance(prompt, str) else None,
        "completion": "",
        "score": 0.0,
        "finish_reason": "error",
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "error": str(error),
    }


def _record(index: int, names: dict[int, Any], values: dict[str, Any]) -> dict[str, Any]:
    own = {"id": names.pop(index)} if index in names else {}
    return {"index": index, **own, **values}


def _object(line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
        # What comes back of it has to be writable: neither half a character nor too deep.
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise DataError(
            "this line has half a character: a lone surrogate",
            remedy=r"write characters beyond U+FFFF as they are, or as pairs: \ud83e\uddf8",
        ) from None
    except ValueError as error:
        raise DataError(f"this line is not JSON: {error}") from None
    except RecursionError:
        raise DataError("this line is nested too deep", remedy="use fewer levels") from None
    if not isinstance(values, dict):
        raise DataError("this line is not a JSON object", remedy='write {"prompt": "…"}')
    return values


def _is_of(done: Done, line: str) -> bool:
    # A request that was refused has no prompt in its record.
    if done.failed and done.prompt is None:
        return True
    try:
        return bool(done.prompt == _object(line).get("prompt"))
    except DataError:
        return False


def _changed(index: int) -> DataError:
    return DataError(
        "the output has the record of another request than the batch file",
        where=f"line {index + 1} of the batch file, index {index} of the output",
        remedy="give the name of another output, or the batch file as it was",
    )


def records_done(path: Path) -> dict[int, Done]:
    """The records that a file has, by index. What was cut off at its end is removed from it.

    Raises:
        DataError: it cannot be read, or is not the output of a batch.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise DataError(f"it cannot be read: {error.strerror}", where=path) from None
    whole = data[: data.rfind(b"\n") + 1]
    found = {}
    lines = whole.splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            found[int(record["index"])] = Done(record.get("prompt"), "error" in record)
        except (ValueError, KeyError, TypeError, RecursionError, AttributeError):
            raise _not_ours(path, number) from None
    torn = data[len(whole) :]
    if torn:
        if torn[: len(BEGINNING)] != BEGINNING[: len(torn)]:
            raise _not_ours(path, len(lines) + 1)
        with path.open("r+b") as stream:
            stream.truncate(len(whole))
    return found


def _not_ours(path: Path, number: int) -> DataError:
    return DataError(
        "this file is not the output of a batch",
        where=f"{path}:{number}",
        remedy="give the name of another file",
    )
