"""How often words occur near each other, counted on disk: as large as the disk allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from peluche import files
from peluche.config import Config
from peluche.data.batch import Batch
from peluche.data.batching import Position
from peluche.data.token_stream import BREAK, TokenStream
from peluche.errors import DataError

RECORD = np.dtype([("key", "<i8"), ("count", "<f4")])
# Records that are held at a time, about; 12 bytes each, and several times that while sorting.
HELD = 8_000_000

Records = NDArray[Any]


class CooccurrenceConfig(Config):
    """What counts as near (Pennington et al. 2014, §4.2).

    Attributes:
        size: words on either side.
        weighted: a pair n words apart counts 1/n.
    """

    size: int = Field(10, gt=0)
    weighted: bool = True


@dataclass(frozen=True)
class CooccurrenceBatch(Batch):
    """Pairs of words and how often they occur near each other.

    Attributes:
        words, contexts: (N,) their numbers.
        counts: (N,) weighted.
    """

    words: Int[Tensor, "pairs"]
    contexts: Int[Tensor, "pairs"]
    counts: Float[Tensor, "pairs"]

    @property
    def target_tokens(self) -> int:
        """Pairs."""
        return len(self.words)


def count_cooccurrences(
    corpus: TokenStream, words: int, config: CooccurrenceConfig, path: Path, held: int = HELD
) -> None:
    """Write one record per ordered pair that occurs, in random order, to `path`.

    Sorted runs of at most about `held` records go to disk; then pieces of the range of keys, each
    small enough to be held, are merged from all runs and shuffled. Neighbours in the file belong
    to a piece; pieces are shuffled when they are read.

    Args:
        corpus: what to count; each chunk is counted by itself.
        words: size of the vocabulary.

    Raises:
        DataError: no word has a neighbour.
    """
    with TemporaryDirectory(dir=path.parent) as folder:
        runs = _write_runs(corpus, words, config, Path(folder), held)
        mapped = [np.load(run, mmap_mode="r") for run in runs]
        total = sum(len(run) for run in mapped)
        if not total:
            raise DataError(
                "no word of the corpus has a neighbour",
                remedy="give texts of two words or more",
            )
        pieces = -(-total // held)
        random = np.random.default_rng(corpus.seed)
        # Frequent words come first, and have most pairs: cut by how many records there are.
        sample = np.sort(np.concatenate([run["key"][:: max(1, pieces)] for run in mapped]))
        cuts = sample[:: max(1, len(sample) // pieces)][1:pieces]
        bounds = [0, *np.unique(cuts).tolist(), words * words]
        with files.replacing(path) as temporary, temporary.open("wb") as stream:
            for low, high in pairwise(bounds):
                parts = [run[slice(*np.searchsorted(run["key"], [low, high]))] for run in mapped]
                merged = _summed(np.concatenate(parts))
                stream.write(merged[random.permutation(len(merged))].tobytes())


def _write_runs(
    corpus: TokenStream, words: int, config: CooccurrenceConfig, folder: Path, held: int
) -> list[Path]:
    runs: list[Path] = []
    kept: list[Records] = []

    def flush() -> None:
        path = folder / f"{len(runs)}.npy"
        np.save(path, _summed(np.concatenate(kept)))
        runs.append(path)
        kept.clear()

    for chunk in corpus.once():
        kept.append(_summed(_pairs(chunk.tokens.numpy(), words, config)))
        if sum(map(len, kept)) > held:
            kept[:] = [_summed(np.concatenate(kept))]
            if len(kept[0]) > held // 2:
                flush()
    if kept:
        flush()
    return runs


def _pairs(tokens: NDArray[np.int32], words: int, config: CooccurrenceConfig) -> Records:
    """A record for each pair of neighbours, in both orders."""
    found = []
    breaks = np.cumsum(tokens == BREAK)
    for distance in range(1, config.size + 1):
        left, right = tokens[:-distance].astype(np.int64), tokens[distance:].astype(np.int64)
        near = (left != BREAK) & (right != BREAK) & (breaks[:-distance] == breaks[distance:])
        left, right = left[near], right[near]
        records = np.empty(2 * len(left), dtype=RECORD)
        records["key"] = np.concatenate([left * words + right, right * words + left])
        records["count"] = 1 / distance if config.weighted else 1.0
        found.append(records)
    return np.concatenate(found)


def _summed(records: Records) -> Records:
    """One record per key, sorted."""
    keys, inverse = np.unique(records["key"], return_inverse=True)
    summed = np.empty(len(keys), dtype=RECORD)
    summed["key"] = keys
    summed["count"] = np.bincount(inverse, records["count"], minlength=len(keys))
    return summed


class CooccurrenceStream:
    """An endless, resumable stream of batches of pairs, each epoch in another order.

    Args:
        path: what `count_cooccurrences` wrote.
        words: size of the vocabulary.
        pairs: per batch.
        seed: decides the order.
    """

    def __init__(self, path: Path, words: int, pairs: int, seed: int = 0) -> None:
        self.path, self.words, self.pairs, self.seed = path, words, pairs, seed
        self.records = path.stat().st_size // RECORD.itemsize
        # Blocks are read at random places and shuffled together, so that a batch mixes pieces.
        self.block = max(1, pairs // 64)
        self._per_batch = pairs // self.block

    def batches_per_epoch(self) -> int:
        blocks = -(-self.records // self.block)
        return -(-blocks // self._per_batch)

    def batches(
        self, position: Position = Position()
    ) -> Iterator[tuple[CooccurrenceBatch, Position]]:
        """Batches from `position` on, each with the position after it, epoch after epoch."""
        epoch, _, first = position
        while True:
            order = np.random.default_rng([self.seed, epoch]).permutation(
                -(-self.records // self.block)
            )
            for index in range(first, self.batches_per_epoch()):
                start = index * self._per_batch
                batch = self._read(order[start : start + self._per_batch])
                yield batch, Position(epoch, 0, index + 1)
            epoch, first = epoch + 1, 0

    def _read(self, blocks: NDArray[np.int64]) -> CooccurrenceBatch:
        parts = []
        with self.path.open("rb") as stream:
            for block in blocks.tolist():
                stream.seek(block * self.block * RECORD.itemsize)
                parts.append(np.fromfile(stream, dtype=RECORD, count=self.block))
        records = np.concatenate(parts)
        words, contexts = np.divmod(records["key"], self.words)
        counts = records["count"].astype(np.float32)
        return CooccurrenceBatch(*map(torch.from_numpy, (words, contexts, counts)))
