"""What `peluche translate` reads at a prompt, and how it prints translations."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peluche.tasks.translate import Translation

QUIET_SECONDS = 2.0


def typed() -> Iterator[str]:
    """Lines typed at a prompt, until Ctrl-D or Ctrl-C."""
    print("Type a sentence; Ctrl-D ends.", file=sys.stderr)
    while True:
        try:
            yield input("> ")
        except (EOFError, KeyboardInterrupt):
            print(file=sys.stderr)
            return


def print_translations(
    found: Iterable[Translation], n_best: int, as_json: bool, *, quiet: bool
) -> None:
    """One line, or JSON object, for each translation; then how fast it was, unless `quiet`."""
    start, sentences, tokens = time.perf_counter(), 0, 0
    for sentences, result in enumerate(found, start=1):
        tokens += len(result.tokens)
        for rank, candidate in enumerate(result.candidates, start=1):
            # A line break in a translation would break the alignment with the source.
            text = candidate.translation.replace("\n", " ")
            line = text if n_best == 1 else f"{sentences}\t{candidate.score:.4f}\t{text}"
            if as_json:
                item: dict[str, Any] = {"source": result.source, "translation": text}
                item |= {"score": candidate.score} | ({"rank": rank} if n_best > 1 else {})
                line = json.dumps(item, ensure_ascii=False)
            print(line, flush=True)
    seconds = time.perf_counter() - start
    if seconds > QUIET_SECONDS and not quiet:
        print(
            f"{sentences:,} sentences, {tokens:,} tokens in {seconds:.1f} s: "
            f"{sentences / seconds:,.1f} sentences/s, {tokens / seconds:,.0f} tokens/s",
            file=sys.stderr,
        )
