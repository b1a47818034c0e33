"""Texts as one long row of tokens, cut into rows for language models.

Each document is [BOS], its tokens, [EOS], or what of these marks the tokenizer has; documents
follow one another without padding. A row is `length` tokens of that, so it may hold the end of one
document and the start of others.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from peluche.config import Config
from peluche.data.batch import Batch
from peluche.data.batching import Position
from peluche.data.tokens import Tokens
from peluche.text.tokenizer import OWN, SpecialIds

B = TypeVar("B")


@dataclass(frozen=True)
class LanguageBatch(Batch):
    """Rows of packed documents.

    Attributes:
        tokens: (B, T).
        labels: (B, T): what comes after each token.
        valid: (B, T), False where nothing comes after: at the end of a document, and at padding.
        document_ids: (B, T): documents of a row, numbered from 0.
        prefix: (B,): so many tokens of a row see each other in both directions; None for none.
    """

    tokens: Int[Tensor, "batch length"]
    labels: Int[Tensor, "batch length"]
    valid: Bool[Tensor, "batch length"]
    document_ids: Int[Tensor, "batch length"]
    prefix: Int[Tensor, "batch"] | None = None

    @property
    def target_tokens(self) -> int:
        """Tokens that are to be said."""
        return int(self.valid.sum())


class PackingConfig(Config):
    """How packed documents become batches."""

    length: int = Field(256, gt=1, description="tokens of a row")
    tokens: int = Field(4096, gt=1, description="tokens of a batch; at least one row")

    @property
    def rows(self) -> int:
        """Rows of a batch."""
        return max(1, self.tokens // self.length)


class PackedRows(Generic[B]):
    """An endless, resumable stream of batches out of packed documents.

    Args:
        tokens: all of them, in memory or mapped from files; they decide where rows begin.
        seed: decides places and order.
        special: of the tokenizer. Where it has no [BOS], a document begins after an [EOS].
    """

    def __init__(
        self,
        tokens: NDArray[np.unsignedinteger] | Tokens,
        config: PackingConfig,
        seed: int = 0,
        special: SpecialIds = OWN,
    ) -> None:
        self.tokens = tokens if isinstance(tokens, Tokens) else Tokens.of(tokens)
        self.config, self.seed, self.marks = config, seed, special

    def batches_per_epoch(self) -> int:
        return -(-len(self._order(0)) // self.config.rows)

    def batches(self, position: Position = Position()) -> Iterator[tuple[B, Position]]:
        """Batches from `position` on, each with the position after it, epoch after epoch."""
        epoch, _, first = position
        while True:
            order, rows = self._order(epoch), self.config.rows
            for number in range(first, -(-len(order) // rows)):
                starts = order[number * rows : (number + 1) * rows]
                yield self.batch(starts, epoch), Position(epoch, 0, number + 1)
            epoch, first = epoch + 1, 0

    def once(self) -> Iterator[B]:
        """Every token once, in order."""
        every = np.arange(0, len(self.tokens) - 1, self.config.length)
        for first in range(0, len(every), self.config.rows):
            yield self.batch(every[first : first + self.config.rows])

    @abstractmethod
    def batch(self, starts: NDArray[np.int64], epoch: int = 0) -> B:
        """The rows that begin at these places."""

    def plain(self, starts: NDArray[np.int64]) -> LanguageBatch:
        """The rows that begin at these places, as they are."""
        length = self.config.length
        rows = np.full((len(starts), length + 1), max(self.marks.pad, 0), dtype=np.int64)
        real = np.zeros_like(rows, dtype=bool)
        for row, start in enumerate(starts.tolist()):
            piece = self.tokens.read(start, length + 1)
            rows[row, : len(piece)], real[row, : len(piece)] = piece, True
        begins = rows == self.marks.bos
        if self.marks.bos < 0:
            begins[:, 1:] = rows[:, :-1] == self.marks.eos
        begins[:, 0] = False  # it has number 0, whether it begins here or earlier
        tokens, labels, said = map(
            torch.from_numpy, (rows[:, :-1], rows[:, 1:], (real & ~begins)[:, 1:])
        )
        return LanguageBatch(
            tokens, labels, said, torch.from_numpy(begins[:, :-1].cumsum(1, dtype=np.int64))
        )

    def _order(self, epoch: int) -> NDArray[np.int64]:
        return self.tokens.starts(epoch, self.config.length, self.seed)


class PackedStream(PackedRows[LanguageBatch]):
    """Rows as they are."""

    def batch(self, starts: NDArray[np.int64], epoch: int = 0) -> LanguageBatch:
        return self.plain(starts)


class PrefixStream(PackedRows[LanguageBatch]):
    """Rows of which a part is read in both directions, and only the rest is to be said.

    How long the part is follows from the row's place, the epoch and the seed alone.
    """

    def batch(self, starts: NDArray[np.int64], epoch: int = 0) -> LanguageBatch:
        batch = self.plain(starts)
        lengths = [
            int(np.random.default_rng([self.seed, epoch, start, 4]).integers(self.config.length))
            for start in starts.tolist()
        ]
        prefix = torch.tensor(lengths)
        # The last token of the prefix says the first one after it.
        places = torch.arange(self.config.length)
        said = batch.valid & (places >= prefix[:, None] - 1)
        return replace(batch, valid=said, prefix=prefix)
