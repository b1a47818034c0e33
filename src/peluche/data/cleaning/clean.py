"""From a source to a file of the texts that are worth learning from, and a report of the rest."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from peluche.data.cleaning.steps import Dropped, Step
from peluche.data.selection import SkipReport
from peluche.data.text_parts import PlainText, Texts
from peluche.errors import DataError
from peluche.files import readable_size, replacing, write_text

# Examples of each reason that a report shows, and the characters that it shows of each.
SHOWN, CHARACTERS = 3, 160


@dataclass
class Count:
    """How many texts, of how many bytes of UTF-8; and some of them."""

    documents: int = 0
    bytes: int = 0
    examples: list[dict[str, str]] = field(default_factory=list)

    def add(self, text: PlainText, size: int, detail: str | None = None) -> None:
        """Count a text, and show it if it is one of the first."""
        self.documents += 1
        self.bytes += size
        if detail is not None and len(self.examples) < SHOWN:
            beginning = " ".join(text.text[: 2 * CHARACTERS].split())[:CHARACTERS]
            self.examples.append({"where": text.where, "detail": detail, "text": beginning})


@dataclass
class CleaningReport:
    """What was read, what was kept of it, and what was dropped for each reason.

    Attributes:
        changed: texts of which a part was taken out, and the bytes of that part.
    """

    read: Count = field(default_factory=Count)
    kept: Count = field(default_factory=Count)
    changed: Count = field(default_factory=Count)
    dropped: dict[str, Count] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values; examples only of what was dropped."""
        values: dict[str, Any] = {
            name: {"documents": count.documents, "bytes": count.bytes}
            for name, count in (("read", self.read), ("kept", self.kept), ("changed", self.changed))
        }
        return values | {"dropped": {reason: vars(count) for reason, count in self._sorted()}}

    def table(self) -> list[tuple[str, ...]]:
        """Rows for people, with one example of each reason."""
        rows: list[tuple[str, ...]] = [("", "texts", "share", "bytes", "for example")]
        rows += [self._row("read", self.read, ""), self._row("kept", self.kept, "")]
        if self.changed.documents:
            rows.append(self._row("taken out of others", self.changed, ""))
        for reason, count in self._sorted():
            first = count.examples[0] if count.examples else None
            shown = "" if first is None else f"{first['where']}: {first['detail']}"
            rows.append(self._row(reason, count, shown[:CHARACTERS]))
        return rows

    def _row(self, name: str, count: Count, shown: str) -> tuple[str, ...]:
        share = f"{count.documents / max(1, self.read.documents):.2%}"
        return name, f"{count.documents:,}", share, readable_size(count.bytes), shown

    def _sorted(self) -> list[tuple[str, Count]]:
        return sorted(self.dropped.items(), key=lambda item: (-item[1].documents, item[0]))


def clean(
    source: Texts,
    out: Path,
    steps: Sequence[Step],
    say: Callable[[str], None] = lambda message: None,
) -> CleaningReport:
    """Write the texts that pass all steps, in order; and the report, beside them.

    Texts are read one at a time; what the steps remember is all that grows in memory. The same
    source and steps write the same bytes. If it is interrupted there is no file, or the old one.

    Args:
        source: is read once.
        out: gets one object a line, with `text` and `where`; compressed if it ends in ``.gz``. The
            report is named after it, and ends in ``.report.json``.
        steps: are asked in this order until one drops the text.
        say: told every ten seconds how far it is.

    Raises:
        DataError: the source cannot be read, the disk is full, or no text is left.
    """
    report = CleaningReport()
    told = time.monotonic()
    try:
        with replacing(out) as temporary, _writing(temporary, out.suffix == ".gz") as stream:
            for text, kept in _passed(source, steps, report):
                line = json.dumps({"text": kept, "where": text.where}, ensure_ascii=False)
                stream.write(f"{line}\n".encode())
                if time.monotonic() - told > 10:
                    told = time.monotonic()
                    say(f"{report.read.documents:,} texts read, {report.kept.documents:,} kept")
            if not report.kept.documents:
                reasons = ", ".join(f"{name}: {c.documents:,}" for name, c in report._sorted())
                raise DataError(
                    f"no text is left of {report.read.documents:,} ({reasons})",
                    remedy="leave out the rule that drops most, or check what it is meant for",
                )
        write_text(report_file(out), json.dumps(report.as_json(), ensure_ascii=False, indent=1))
    except OSError as error:
        raise DataError(
            f"cannot write {out}: {error.strerror or error}", remedy="make room, or name another"
        ) from error
    return report


def report_file(out: Path) -> Path:
    """Where the report of a cleaned file is."""
    return out.with_name(f"{out.name.split('.')[0]}.report.json")


def _passed(
    source: Texts, steps: Sequence[Step], report: CleaningReport
) -> Iterator[tuple[PlainText, str]]:
    skipped = SkipReport()
    for text in source.read(skipped):
        size = len(text.text.encode())
        report.read.add(text, size)
        kept = text
        for step in steps:
            found = step(kept)
            if isinstance(found, Dropped):
                report.dropped.setdefault(found.reason, Count()).add(text, size, found.detail)
                break
            kept = kept._replace(text=found)
        else:
            left = len(kept.text.encode())
            report.kept.add(kept, left)
            if left != size:
                report.changed.add(kept, size - left)
            yield text, kept.text
    if skipped.empty:
        report.read.documents += skipped.empty
        where = {"where": skipped.first or "", "detail": "nothing in it", "text": ""}
        report.dropped["empty"] = Count(skipped.empty, 0, [where])


@contextmanager
def _writing(path: Path, compressed: bool) -> Iterator[IO[bytes]]:
    with path.open("wb") as raw:
        if not compressed:
            yield raw
            return
        # Without name and time, the same texts are the same bytes.
        with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as stream:
            yield stream  # type: ignore[misc]
