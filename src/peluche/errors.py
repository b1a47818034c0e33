"""The one exception family: every message says what is wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PelucheError(Exception):
    """An error that a user can act on.

    The command line prints it without a traceback and exits with `exit_code`.

    Args:
        what: what is wrong, in one sentence.
        where: the file, line, key or step at which it was found.
        remedy: what to do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: object = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [self.what]
        if self.where is not None:
            lines.append(f"  where: {self.where}")
        if self.remedy is not None:
            lines.append(f"  to mend it: {self.remedy}")
        return "\n".join(lines)


class ConfigError(PelucheError):
    """A configuration that cannot be built: unknown key, impossible combination, wrong type."""

    exit_code = 2


class DataError(PelucheError):
    """Data that cannot be read or used: missing file, wrong encoding, unequal line counts."""

    exit_code = 3


class CheckpointError(PelucheError):
    """A run directory or weight file that is absent, truncated, altered or of another version."""

    exit_code = 4


class DownloadError(PelucheError):
    """A download that failed or whose contents are not the expected ones."""

    exit_code = 5


class NumericsError(PelucheError):
    """What cannot go on: a loss that is not a number, though lower rates were tried, or logits."""

    exit_code = 6


class MissingExtraError(PelucheError):
    """A feature that needs an optional dependency which is not installed."""

    exit_code = 7


class ResourceError(PelucheError):
    """Memory that is too small, whatever the batch is cut into."""

    exit_code = 8


class PeerError(PelucheError):
    """Another process of the same run that has ended, or that cannot be reached."""

    exit_code = 9


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The entry of `known` that is most like `word`, or None if nothing is alike."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A remedy sentence: the nearest known word if there is one, then all of them."""
    known = sorted(known)
    close = nearest(word, known)
    listing = ", ".join(known)
    return f"did you mean '{close}'? (known: {listing})" if close else f"use one of: {listing}"
