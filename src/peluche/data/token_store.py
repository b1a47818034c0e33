"""Texts tokenised once, into files that are mapped: kept for as long as nothing has changed.

A store is a folder named after all that decides what its tokens are: the source with its files'
names, sizes and times, the tokenizer, how texts are encoded, and how the source is cut into parts.
When any of these changes there is another store. Each part of the source becomes a shard. Shards
are made side by side by several processes, and do not depend on how many there are; those that a
killed process had finished are checked by SHA-256 and kept, all others are made again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from peluche import files
from peluche.data.shards import Job, Shard, intact, made, tokens_file
from peluche.data.text_parts import Part, Texts
from peluche.data.text_sources import Mixture, weighted
from peluche.data.tokenization import Tokenization, tokenizer_sum
from peluche.data.tokens import MixedTokens, Tokens, item_type
from peluche.errors import DataError

STORE = "store.json"
FORMAT = 1
# Files of one store that are mapped at a time; each keeps a file open.
OPEN = 64


class Packed(NamedTuple):
    """Tokens that were packed, how many documents they are, and of how many bytes of UTF-8."""

    tokens: Tokens
    documents: int
    bytes: int


def pack(
    source: Texts | Mixture,
    folder: Path,
    tokenization: Tokenization,
    workers: int = 1,
    say: Callable[[str], None] = lambda message: None,
) -> Packed:
    """The tokens of a source, or of a mixture's sources by weight, from stores in a folder.

    Args:
        folder: of stores; each source has its own in it.
        workers: processes that tokenise.
        say: told what was found, what is made, and how fast.

    Raises:
        DataError: the source cannot be read or holds no text, or the disk is full; what was made
            until then is kept.
    """
    sources = weighted(source)
    packed = [_pack(one, folder, tokenization, workers, say) for one, _ in sources]
    if len(packed) == 1:
        return packed[0]
    tokens = MixedTokens([one.tokens for one in packed], [weight for _, weight in sources])
    documents = sum(one.documents for one in packed)
    return Packed(tokens, documents, sum(one.bytes for one in packed))


def _pack(
    source: Texts,
    folder: Path,
    tokenization: Tokenization,
    workers: int,
    say: Callable[[str], None],
) -> Packed:
    plan = source.plan()
    about = _describe(source, tokenization, plan)
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    store = folder / digest[:16]
    with _explained(store), _held(store):
        _check(store, about)
        for leftover in store.glob(".*.tmp"):
            leftover.unlink()
        shards = {number: intact(store, number) for number in range(len(plan))}
        missing = {number: plan[number] for number, shard in shards.items() if shard is None}
        if len(missing) < len(plan):
            say(f"{len(plan) - len(missing)} of {len(plan)} parts are tokenised already")
        job = Job(store, source, tokenization)
        for number, shard in _progress(job, missing, workers, say):
            shards[number] = shard
    found = [shard for shard in shards.values() if shard is not None]
    documents, empty = (sum(getattr(s, name) for s in found) for name in ("documents", "empty"))
    if empty:
        say(f"left out {empty:,} empty text{'s' * (empty != 1)}")
    if not documents:
        raise DataError(
            "there is no text to learn from",
            where=source.model_dump_json(exclude_defaults=True),
            remedy="check the files, the slice and the column",
        )
    item = item_type(len(tokenization.tokenizer))

    @lru_cache(maxsize=OPEN)
    def mapped(number: int) -> NDArray[np.unsignedinteger]:
        return np.memmap(tokens_file(store, number), dtype=item, mode="r")

    tokens = Tokens([shard.tokens for shard in found], mapped)
    return Packed(tokens, documents, sum(shard.bytes for shard in found))


def _describe(source: Texts, tokenization: Tokenization, plan: list[list[Part]]) -> dict[str, Any]:
    """All that decides what a store's tokens are."""
    described: dict[str, Any] = {
        "format": FORMAT,
        "tokenizer": tokenizer_sum(tokenization.tokenizer),
        "tokenization": tokenization.name,
        "source": source.model_dump(mode="json"),
        "files": source.state(),
        "parts": plan,
    }
    plain: dict[str, Any] = json.loads(json.dumps(described))
    return plain


def _check(store: Path, about: dict[str, Any]) -> None:
    """Begin a store, or see that one that is there is of these tokens."""
    file = store / STORE
    if not file.exists():
        files.write_text(file, json.dumps(about, indent=1))
        return
    try:
        other = json.loads(file.read_bytes())
        differs = [key for key in about if other.get(key) != about[key]]
    except (ValueError, AttributeError):
        differs = ["description"]
    if differs:
        raise DataError(
            f"these tokens are not the ones that are wanted: another {', '.join(differs)}",
            where=store,
            remedy="delete that folder, and the texts are tokenised again",
        )


def _progress(
    job: Job, missing: dict[int, list[Part]], workers: int, say: Callable[[str], None]
) -> Iterator[tuple[int, Shard]]:
    """Shards as they are made; says how far it is, every ten seconds at most."""
    began = told = time.monotonic()
    tokens = 0
    for done, (number, shard) in enumerate(made(job, missing, workers), 1):
        yield number, shard
        tokens += shard.tokens
        now = time.monotonic()
        if now - told > 10 or done == len(missing):
            told = now
            rate = tokens / max(now - began, 1e-9)
            say(
                f"tokenised {done} of {len(missing)} parts: {tokens:,} tokens, {rate:,.0f} a second"
            )


@contextmanager
def _held(store: Path) -> Iterator[None]:
    """Keep a store to this process: others that want it wait, and find it made."""
    store.mkdir(parents=True, exist_ok=True)
    with (store / ".lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextmanager
def _explained(store: Path) -> Iterator[None]:
    """Turn what goes wrong with disks and processes into a clear error."""
    kept = "the parts that are done are kept; the same command goes on from there"
    try:
        yield
    except BrokenProcessPool:
        raise DataError(
            f"a process that tokenised was killed; {kept}",
            where=store,
            remedy="if memory was short, use fewer of them (data.workers)",
        ) from None
    except OSError as error:
        present = next(parent for parent in (store, *store.parents) if parent.is_dir())
        free = files.readable_size(shutil.disk_usage(present).free)
        reason = error.strerror or error
        raise DataError(
            f"cannot write tokens: {reason} ({free} are free on that disk); {kept}",
            where=store,
            remedy="make room on the disk, or name a folder on another one (data.tokens)",
        ) from error
