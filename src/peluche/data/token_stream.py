"""A corpus as numbers of words in a file on disk, read in chunks: as large as the disk allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int32
from torch import Tensor

from peluche import files
from peluche.data.batch import Batch
from peluche.data.batching import Position
from peluche.errors import DataError
from peluche.text.vocabulary import Vocabulary

BREAK = -1
ITEM = np.dtype("<i4")


@dataclass(frozen=True)
class TokenChunk(Batch):
    """A piece of a corpus.

    Attributes:
        tokens: (T,) numbers of words; −1 stands between texts.
        seed: for whatever is drawn at random about this chunk, so that it can be drawn again.
    """

    tokens: Int32[Tensor, "length"]
    seed: int

    @property
    def target_tokens(self) -> int:
        """Words."""
        return int((self.tokens != BREAK).sum())


def encode_corpus(path: Path, texts: Iterable[str], vocabulary: Vocabulary) -> None:
    """Write the numbers of all words of all texts, a break after each, as 32-bit integers.

    Raises:
        DataError: no text holds a word of the vocabulary.
    """
    words = 0
    end = np.array([BREAK], dtype=ITEM)
    with files.replacing(path) as temporary:
        with temporary.open("wb") as stream:
            for text in texts:
                numbers = vocabulary.encode(text)
                words += len(numbers)
                stream.write(numbers.astype(ITEM, copy=False).tobytes() + end.tobytes())
        if not words:
            raise DataError("the corpus holds no word of the vocabulary", remedy="check the files")


class TokenStream:
    """An endless, resumable stream of chunks of an encoded corpus, each epoch in another order.

    Args:
        path: what `encode_corpus` wrote.
        chunk: words and breaks per chunk.
        seed: decides the order.
    """

    def __init__(self, path: Path, chunk: int, seed: int = 0) -> None:
        self.path, self.chunk, self.seed = path, chunk, seed
        self.length = path.stat().st_size // ITEM.itemsize

    def batches_per_epoch(self) -> int:
        return -(-self.length // self.chunk)

    def batches(self, position: Position = Position()) -> Iterator[tuple[TokenChunk, Position]]:
        """Chunks from `position` on, each with the position after it, epoch after epoch."""
        epoch, _, first = position
        count = self.batches_per_epoch()
        while True:
            order = np.random.default_rng([self.seed, epoch]).permutation(count)
            for index in range(first, count):
                seed = (self.seed * 1_000_003 + epoch) * count + int(order[index])
                yield self._read(int(order[index]), seed), Position(epoch, 0, index + 1)
            epoch, first = epoch + 1, 0

    def once(self) -> Iterator[TokenChunk]:
        """All chunks, in order."""
        for number in range(self.batches_per_epoch()):
            yield self._read(number, self.seed + number)

    def _read(self, number: int, seed: int) -> TokenChunk:
        # Not a memory map, whose pages would count as memory of this process.
        start = number * self.chunk
        with self.path.open("rb") as stream:
            stream.seek(start * ITEM.itemsize)
            tokens = np.fromfile(stream, dtype=ITEM, count=self.chunk)
        return TokenChunk(torch.from_numpy(tokens), seed)
