"""One shard of a token store: the texts of one part of a source, as tokens in a file.

The tokens are `NNNNN.tokens`; when that file is complete, `NNNNN.json` says what is in it. Both
are written so that a crash leaves all or nothing of them, so a shard is there or is not.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from peluche import files
from peluche.data.encoding import Encoding
from peluche.data.selection import SkipReport
from peluche.data.text_parts import Part, Texts
from peluche.data.tokens import item_type

# Texts that are encoded at a time.
BLOCK = 256
# A part's texts are numbered from its own number times this.
NUMBERS = 1 << 32


class Shard(NamedTuple):
    """What is in a shard.

    Attributes:
        documents: texts.
        tokens: with [BOS] and [EOS].
        bytes: of the texts in UTF-8.
        empty: texts that were left out because nothing is in them.
        sha256: of the file of tokens.
    """

    documents: int
    tokens: int
    bytes: int
    empty: int
    sha256: str


class Job(NamedTuple):
    """What makes every shard of a store."""

    folder: Path
    source: Texts
    encoding: Encoding

    def write(self, number: int, parts: Sequence[Part]) -> Shard:
        """Make one shard.

        Raises:
            DataError: the source is not readable.
            OSError: the shard is not writable.
        """
        documents = tokens = size = 0
        item = item_type(len(self.encoding.tokenizer))
        skipped = SkipReport()
        texts = (text.text for text in self.source.read_parts(parts, skipped))
        with files.replacing(tokens_file(self.folder, number)) as temporary:
            with temporary.open("wb") as stream:
                while block := list(islice(texts, BLOCK)):
                    for ids in self.encoding(block, number * NUMBERS + documents):
                        stream.write(np.asarray(ids, dtype=item).tobytes())
                        tokens += len(ids)
                    documents += len(block)
                    size += sum(len(text.encode()) for text in block)
            checksum = files.sha256(temporary)
        shard = Shard(documents, tokens, size, skipped.empty, checksum)
        files.write_text(_record(self.folder, number), json.dumps(shard._asdict()))
        return shard


def intact(folder: Path, number: int) -> Shard | None:
    """A shard that was made before, None if it is not there or not as it was written."""
    try:
        shard = Shard(**json.loads(_record(folder, number).read_bytes()))
        if files.sha256(tokens_file(folder, number)) == shard.sha256:
            return shard
    except (OSError, ValueError, TypeError):
        pass
    return None


def tokens_file(folder: Path, number: int) -> Path:
    """Where the tokens of a shard are."""
    return folder / f"{number:05d}.tokens"


def _record(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.json"


def made(job: Job, parts: dict[int, list[Part]], workers: int) -> Iterator[tuple[int, Shard]]:
    """Shards with their numbers, as they are ready.

    One worker is this process, which encodes on all cores; several are processes with one each.

    Raises:
        DataError, OSError: as `Job.write`.
        BrokenProcessPool: a worker was killed.
    """
    if workers == 1 or len(parts) < 2:
        for number, group in parts.items():
            yield number, job.write(number, group)
        return
    # Not forked: a copy of a process with threads may wait for ever.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(parts)), context, _begin, (job,)) as pool:
        futures = {pool.submit(_write, number, group): number for number, group in parts.items()}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_job: Job


def _begin(job: Job) -> None:
    """Make a new process ready: it is one of many, and ends when its parent does."""
    global _job
    _job = job
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _write(number: int, parts: list[Part]) -> Shard:
    return _job.write(number, parts)
