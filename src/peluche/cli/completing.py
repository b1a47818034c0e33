"""What `peluche complete` does once it knows what is asked: prompts, searches, batch files."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer

from peluche.cli.terminal import say
from peluche.errors import ConfigError, DataError, PelucheError

if TYPE_CHECKING:
    from peluche.tasks.complete import Completer
    from peluche.tasks.generate import TextGenerator
    from peluche.tasks.text_requests import Generated, TextRequest

QUIET_SECONDS = 2.0


def guide(schema: Path | None, regex: str | None, grammar: Path | None) -> dict[str, Any]:
    """The option `guide`, if there is one.

    Raises:
        ConfigError: there are several, the schema is not JSON, or a text is in the place of a file.
        DataError: a file cannot be read.
    """
    from peluche.data.readers import read_text

    for name, file in (("--schema", schema), ("--grammar", grammar)):
        text = str(file or "").strip()
        if text.startswith(("{", "[")) or "\n" in text:
            raise ConfigError(
                f"{name} is the name of a file, and this is a text",
                where=f"'{' '.join(text.split())[:40]}'",
                remedy=f"write it to a file and give its name: {name} FILE",
            )
    found: list[dict[str, Any]] = []
    if schema is not None:
        try:
            values = json.loads(read_text(schema))
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"the schema is not JSON: {error}", where=schema) from None
        found.append({"kind": "json_schema", "json_schema": values})
    if regex is not None:
        found.append({"kind": "regex", "pattern": regex})
    if grammar is not None:
        found.append({"kind": "grammar", "lark": read_text(grammar)})
    if len(found) > 1:
        raise ConfigError(
            "--schema, --regex and --grammar exclude each other", remedy="give one of them"
        )
    return {"guide": found[0]} if found else {}


class Asked:
    """Prompts, and how what comes after them is printed.

    Args:
        lines: the prompts, which are not asked for before there is a model.

    Attributes:
        error: the last that a prompt met with; None if all went well.
    """

    def __init__(
        self,
        lines: Iterable[str],
        options: Mapping[str, Any],
        samples: int,
        suffix: str | None,
        as_json: bool,
    ) -> None:
        self.lines, self.options, self.samples = lines, options, samples
        self.suffix, self.as_json = suffix, as_json
        self.error: PelucheError | None = None

    @cached_property
    def prompts(self) -> list[str]:
        return list(self.lines)

    def search(self, completer: Completer, **search: Any) -> None:
        """By a search that `Completer.complete` knows; the likeliest first."""
        others = sorted(set(self.options) - {"max_tokens"})
        if others:
            raise ConfigError(
                f"with this search, there is no {', '.join(others)}",
                remedy="drop --beams or --penalty-alpha, or the other options",
            )
        found = completer.complete(self.prompts, suffix=self.suffix, **self.options, **search)
        for one in found:
            self._print(one.prompt, one.text, one.as_json())

    def write(self, generator: TextGenerator, requests: Sequence[TextRequest]) -> None:
        """Token by token: one prompt as it is written, several together, in their order."""
        if len(requests) == 1 and not self.as_json:
            pieces = generator.stream(requests[0])
            first = next(pieces)  # what is wrong with the request is said before anything is shown
            print(self.prompts[0], end="", flush=True)
            for piece in chain([first], pieces):
                print(piece.text, end="", flush=True)
            print(self.suffix or "", flush=True)
            return
        waiting: dict[int, list[Generated]] = {}
        due = 0
        for number, result in generator.finished(enumerate(requests)):
            waiting.setdefault(number // self.samples, []).append(result)
            while len(waiting.get(due, ())) == self.samples:
                results = waiting.pop(due)
                for one in sorted(results, key=lambda result: -result.score):
                    self._print_result(due, one)
                due += 1

    def requests(self, completer: Completer) -> list[TextRequest]:
        """A request for each sample of each prompt."""
        from peluche.tasks.text_requests import TextRequest

        prompts: list[Any] = list(self.prompts)
        if self.suffix is not None:
            prompts = completer.with_gap(self.prompts, self.suffix)
        where = "the options"
        base = TextRequest.flat({**self.options, "prompt": ""}, where=where)
        repeated = [prompt for prompt in prompts for _ in range(self.samples)]
        return [
            base.model_copy(
                update={"prompt": one if isinstance(one, str) else tuple(one), "stream": stream}
            )
            for stream, one in enumerate(repeated)
        ]

    def _print_result(self, number: int, result: Generated) -> None:
        prompt = self.prompts[number]
        if result.error is not None:
            self.error = result.error
            say(f"peluche: prompt {number + 1}: {result.error}")
        self._print(prompt, result.text, {**result.as_json(), "prompt": prompt})

    def _print(self, prompt: str, text: str, values: Mapping[str, Any]) -> None:
        if self.as_json:
            print(json.dumps(values, ensure_ascii=False), flush=True)
        else:
            print(prompt + text + (self.suffix or ""), flush=True)


def _opened(output: Path) -> TextIO:
    try:
        return output.open("a", encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"it cannot be written: {error.strerror}",
            where=output,
            remedy="give a file in a folder that there is, and that you may write to",
        ) from None


def batch(
    generator: TextGenerator,
    lines: Iterable[str],
    options: Mapping[str, Any],
    output: Path | None,
    *,
    ordered: bool,
) -> None:
    """Print the records of a batch, or add to a file those that it lacks."""
    from peluche.tasks.batch import records_done, run_batch
    from peluche.tasks.text_requests import TextRequest

    TextRequest.flat({**options, "prompt": ""}, where="the options")
    done = {} if output is None else records_done(output)
    if done:
        say(f"{len(done)} requests are done already, in {output}")
    started, failed = time.perf_counter(), sum(one.failed for one in done.values())
    new = output is not None and not output.exists()
    stream = sys.stdout if output is None else _opened(output)
    try:
        for record in run_batch(generator, lines, options, done=done, ordered=ordered):
            failed += "error" in record
            print(json.dumps(record, ensure_ascii=False), file=stream, flush=True)
    except KeyboardInterrupt:
        if output is not None:
            say(f"stopped; the same command goes on with what {output} lacks")
        raise typer.Exit(130) from None
    except PelucheError:
        # The batch is refused: nothing is left of it.
        if output is not None and new and not output.stat().st_size:
            output.unlink()
        raise
    finally:
        if output is not None:
            stream.close()
    seconds, written = time.perf_counter() - started, generator.engine.counters.written
    if seconds > QUIET_SECONDS:
        say(f"{written:,} tokens in {seconds:.1f} s: {written / seconds:,.0f} tokens/s")
    if failed:
        say(f"peluche: {failed} requests failed; their records have an error")
        raise typer.Exit(1)
