"""What a corpus of pairs is like, counted in one pass."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from peluche.data.pairs import Pair


class Text(Protocol):
    """A text, and where it stands."""

    @property
    def where(self) -> str: ...

    @property
    def texts(self) -> tuple[str, ...]: ...


class Labelled(Text, Protocol):
    """A text with one or more labels."""

    @property
    def labels(self) -> Sequence[str]: ...


class Lengths:
    """A histogram of whole numbers that answers mean, percentiles and maximum exactly."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, length: int) -> None:
        """Count one length."""
        self._counts[length] += 1

    def percentile(self, percent: float) -> int:
        """The smallest length that at least `percent` of all do not exceed (nearest rank)."""
        needed = self._counts.total() * percent / 100
        seen = 0
        for length in sorted(self._counts):
            seen += self._counts[length]
            if seen >= needed:
                return length
        return 0

    def as_json(self) -> dict[str, float]:
        """Mean, median, 95th and 99th percentile, maximum."""
        total = sum(length * count for length, count in self._counts.items())
        return {
            "mean": round(total / max(1, self._counts.total()), 2),
            "median": self.percentile(50),
            "p95": self.percentile(95),
            "p99": self.percentile(99),
            "max": self.percentile(100),
        }


class SideStatistics:
    """Counts over the sentences of one side; words are what white space separates."""

    def __init__(self) -> None:
        self.words = 0
        self.characters = 0
        self.empty = 0
        self.longest: str | None = None
        self._most_words = -1
        self._vocabulary: set[int] = set()
        self._word_lengths = Lengths()
        self._character_lengths = Lengths()

    def add(self, text: str, where: str) -> int:
        """Count one sentence; return its number of words."""
        words = text.split()
        self.words += len(words)
        self.characters += len(text)
        self.empty += not words
        self._vocabulary.update(map(hash, words))
        self._word_lengths.add(len(words))
        self._character_lengths.add(len(text))
        if len(words) > self._most_words:
            self._most_words, self.longest = len(words), where
        return len(words)

    def as_json(self) -> dict[str, Any]:
        """Plain values: totals, vocabulary, lengths in words and in characters."""
        return {
            "words": self.words,
            "characters": self.characters,
            "empty": self.empty,
            "vocabulary": len(self._vocabulary),
            "words_per_line": self._word_lengths.as_json(),
            "characters_per_line": self._character_lengths.as_json(),
            "longest": self.longest,
        }


def statistics(pairs: Iterable[Pair]) -> dict[str, Any]:
    """Describe a corpus; pass it with its empty lines kept, or they are not counted.

    Memory grows by some 32 bytes a pair and by the vocabulary. Duplicates are told by 64-bit
    hashes: among a hundred million pairs, the odds of a false one are about 1 in 3,700.

    Returns:
        `pairs`; `duplicates` (pairs that occurred before); `repeated_sources`, `repeated_targets`
        (sentences that occurred before); `ratio`, the target words per source word, over all and
        as percentiles over the pairs with two sides; `source` and `target`, as
        `SideStatistics.as_json`.
    """
    source, target = SideStatistics(), SideStatistics()
    seen = {"pairs": array("q"), "sources": array("q"), "targets": array("q")}
    ratios = Lengths()
    for pair in pairs:
        source_words = source.add(pair.source, pair.where)
        target_words = target.add(pair.target, pair.where)
        seen["pairs"].append(hash((pair.source, pair.target)))
        seen["sources"].append(hash(pair.source))
        seen["targets"].append(hash(pair.target))
        if source_words and target_words:
            ratios.add(round(100 * target_words / source_words))
    return {
        "pairs": len(seen["pairs"]),
        "duplicates": _repeated(seen["pairs"]),
        "repeated_sources": _repeated(seen["sources"]),
        "repeated_targets": _repeated(seen["targets"]),
        "ratio": {
            "all": round(target.words / max(1, source.words), 3),
            **{f"p{p}": ratios.percentile(p) / 100 for p in (1, 50, 99)},
        },
        "source": source.as_json(),
        "target": target.as_json(),
    }


def example_statistics(examples: Iterable[Labelled]) -> dict[str, Any]:
    """Describe labelled texts, annotated sentences or trees.

    Returns:
        `examples`; `duplicates` (first texts that occurred before); `contradictions` (those that
        occurred before with another label); `text`, as `SideStatistics.as_json`; `labels`, how
        often each occurs: of texts, of tokens (their tags), or of constituents.
    """
    text, labels = SideStatistics(), Counter[str]()
    hashes = array("q")
    said: dict[int, str] = {}
    contradictions = 0
    for example in examples:
        first = example.texts[0]
        text.add(first, example.where)
        hashes.append(hash(first))
        found = example.labels
        labels.update(found)
        if len(found) == 1:
            contradictions += said.setdefault(hash(first), found[0]) != found[0]
    return {
        "examples": len(hashes),
        "duplicates": _repeated(hashes),
        "contradictions": contradictions,
        "text": text.as_json(),
        "labels": dict(labels.most_common()),
    }


def text_statistics(texts: Iterable[Text]) -> dict[str, Any]:
    """Describe plain texts: what `example_statistics` says without labels."""
    counted, hashes = SideStatistics(), array("q")
    for one in texts:
        counted.add(one.texts[0], one.where)
        hashes.append(hash(one.texts[0]))
    return {
        "examples": len(hashes),
        "duplicates": _repeated(hashes),
        "text": counted.as_json(),
    }


def example_table(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The rows of a table for people out of what `example_statistics` or `text_statistics` says."""
    names = [name for name in ("examples", "duplicates", "contradictions") if name in found]
    rows: list[tuple[str, str, str]] = [(name, f"{found[name]:,}", "") for name in names]
    rows += _side_rows([found["text"]])
    if "labels" not in found:
        return rows
    total = max(1, sum(found["labels"].values()))
    rows.append(("labels", f"{len(found['labels']):,}", ""))
    for label, count in found["labels"].items():
        rows.append((f"  {label}", f"{count:,}", f"{100 * count / total:.1f} %"))
    return rows


def _repeated(hashes: array[int]) -> int:
    return len(hashes) - len(np.unique(np.asarray(hashes)))


def statistics_table(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The rows of a table for people out of what `statistics` returns."""
    ratio = found["ratio"]
    rows = [
        ("pairs", f"{found['pairs']:,}", ""),
        ("duplicate pairs", f"{found['duplicates']:,}", ""),
        ("target words per source word", f"{ratio['all']:.2f}", ""),
        ("the same, 1st to 99th percentile", f"{ratio['p1']:.2f} to {ratio['p99']:.2f}", ""),
        ("", "source", "target"),
        ("repeated lines", f"{found['repeated_sources']:,}", f"{found['repeated_targets']:,}"),
    ]
    return rows + _side_rows([found["source"], found["target"]])


def _side_rows(sides: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """What is counted of one or two sides."""

    def row(title: str, values: Sequence[str]) -> tuple[str, str, str]:
        return title, values[0], values[1] if len(values) > 1 else ""

    rows = [
        row(f"{name} lines" if name == "empty" else name, [f"{side[name]:,}" for side in sides])
        for name in ("empty", "words", "vocabulary", "characters")
    ]
    for unit in ("words", "characters"):
        for name in ("mean", "median", "p95", "p99", "max"):
            values = [f"{side[f'{unit}_per_line'][name]:,}" for side in sides]
            rows.append(row(f"{unit} per line, {name}", values))
    rows.append(row("the line with most words", [side["longest"] or "" for side in sides]))
    return rows
