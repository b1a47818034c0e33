"""Examples → batches: token budgets, bucketing by length, and an order that can be resumed.

A stream is cut into windows of examples. Within a window the order is shuffled from the seed,
sentences of like length are put together, and the batches are shuffled again; so the same code
serves a corpus that fits in memory (one window) and one that does not (`window` examples at a
time), and a position in the stream is three numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from peluche.config import Config
from peluche.data.batch import Batch
from peluche.data.sources import Pair
from peluche.errors import DataError
from peluche.text.tokenizer import OWN, SpecialIds, Tokenizer


@dataclass(frozen=True)
class TranslationBatch(Batch):
    """Aligned sentences as token ids, padded on the right.

    Attributes:
        source: (B, S), each sentence ends with [EOS].
        source_valid: (B, S), True for tokens, False for padding.
        target_in: (B, T), [BOS] and the sentence.
        target_out: (B, T), the sentence and [EOS]: what each position of `target_in` is to say.
        target_valid: (B, T).
    """

    source: Int[Tensor, "batch source"]
    source_valid: Bool[Tensor, "batch source"]
    target_in: Int[Tensor, "batch target"]
    target_out: Int[Tensor, "batch target"]
    target_valid: Bool[Tensor, "batch target"]

    @property
    def source_tokens(self) -> int:
        return int(self.source_valid.sum())

    @property
    def target_tokens(self) -> int:
        return int(self.target_valid.sum())


class BatchingConfig(Config):
    """How examples become batches."""

    tokens: int = Field(4096, gt=0, description="padded tokens per batch and side, at most")
    max_length: int = Field(256, gt=1, description="longer pairs (in tokens) are left out")
    window: int | None = Field(
        None, gt=0, description="examples held at a time; for corpora larger than memory"
    )

    @property
    def longest(self) -> int:
        """The most tokens of a text: a batch has to hold it."""
        return min(self.max_length, self.tokens)


class Position(NamedTuple):
    """Where a stream stands: the next batch is number `batch` of this window of this epoch."""

    epoch: int = 0
    window: int = 0
    batch: int = 0


class Window(ABC):
    """Encoded examples: rows of several lengths, from which padded batches are made."""

    @property
    @abstractmethod
    def lengths(self) -> NDArray[np.int64]:
        """(N,) tokens of each row: rows of like length are put together."""

    @property
    def others(self) -> NDArray[np.int64]:
        """(N,) tokens of each row's other side, if there is one: the second thing to sort by."""
        return np.zeros_like(self.lengths)

    @abstractmethod
    def batch(self, rows: NDArray[np.int64]) -> Any:
        """Pad these rows into tensors."""

    def __len__(self) -> int:
        return len(self.lengths)

    def plan(self, tokens: int, random: np.random.Generator | None) -> list[NDArray[np.int64]]:
        """Row numbers of each batch, at most `tokens` padded tokens a side.

        Rows of like length stand together; with `random`, ties and the batches are shuffled.
        """
        order = np.arange(len(self)) if random is None else random.permutation(len(self))
        other, length = self.others, self.lengths
        # Other sides rise and fall in turn, so that neighbours are alike across lengths too.
        snake = np.where(length % 2 == 0, other, -other)
        order = order[np.lexsort((snake[order], length[order]))]
        batches, start, widest = [], 0, 0
        widths = np.maximum(other, length)[order]
        for end, width in enumerate(widths.tolist()):
            widest_now = max(widest, width)
            if end > start and widest_now * (end + 1 - start) > tokens:
                batches.append(order[start:end])
                start, widest_now = end, width
            widest = widest_now
        if start < len(order):
            batches.append(order[start:])
        if random is not None:
            batches = [batches[i] for i in random.permutation(len(batches))]
        return batches


class Ragged:
    """Sequences of several lengths in one flat array: about four bytes a token."""

    def __init__(self, sequences: Sequence[Sequence[int]]) -> None:
        self.starts = np.zeros(len(sequences) + 1, dtype=np.int64)
        np.cumsum([len(sequence) for sequence in sequences], out=self.starts[1:])
        self.flat = np.fromiter(
            (token for sequence in sequences for token in sequence),
            dtype=np.int32,
            count=self.starts[-1],
        )

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.starts)

    def padded(
        self, rows: NDArray[np.int64], pad: int = Tokenizer.pad_id
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """These sequences, each (rows, longest), and what of them is not padding."""
        begin, lengths = self.starts[rows], self.starts[rows + 1] - self.starts[rows]
        columns = np.arange(lengths.max())
        valid = columns < lengths[:, None]
        index = np.where(valid, begin[:, None] + columns, 0)
        return np.where(valid, self.flat[index], pad).astype(np.int64), valid


class PairWindow(Window):
    """Encoded pairs.

    Args:
        special: ids of padding and of what a decoder reads first.
    """

    def __init__(
        self, sources: list[list[int]], targets: list[list[int]], special: SpecialIds = OWN
    ) -> None:
        self.source, self.target, self.special = Ragged(sources), Ragged(targets), special

    @property
    def lengths(self) -> NDArray[np.int64]:
        return self.target.lengths

    @property
    def others(self) -> NDArray[np.int64]:
        return self.source.lengths

    def batch(self, rows: NDArray[np.int64]) -> TranslationBatch:
        source, source_valid = self.source.padded(rows, self.special.pad)
        target, target_valid = self.target.padded(rows, self.special.pad)
        shifted = np.roll(target, 1, axis=1)
        shifted[:, 0] = self.special.bos
        shifted[~target_valid] = self.special.pad
        arrays = (source, source_valid, shifted, target, target_valid)
        return TranslationBatch(*(torch.from_numpy(array) for array in arrays))


class BatchStream(ABC):
    """An endless, resumable stream of batches over a corpus.

    Args:
        read: opens the corpus from its start; called once per epoch, or once if it fits.
        config: token budget, length limit, window.
        seed: decides the order.
        say: told once how many examples were left out or cut, and why.
    """

    def __init__(
        self,
        read: Callable[[], Iterable[Any]],
        config: BatchingConfig,
        seed: int = 0,
        say: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.read, self.config = read, config
        self.seed, self.say = seed, say
        self._whole: Window | None = None
        self._told = False

    def tell(self, message: str) -> None:
        """Say something of what is encoded, the first time only."""
        if not self._told:
            self._told = True
            self.say(message)

    @abstractmethod
    def encode(self, examples: list[Any]) -> Window:
        """Examples as token ids."""

    def batches(self, position: Position = Position()) -> Iterator[tuple[Any, Position]]:
        """Batches from `position` on, each with the position after it, epoch after epoch.

        Raises:
            DataError: if the corpus holds nothing that can be trained on.
        """
        epoch, first_window, first_batch = position
        while True:
            found = False
            for number, window in enumerate(self._windows(skip=first_window), first_window):
                found = found or len(window) > 0
                random = np.random.default_rng([self.seed, epoch, number])
                plan = window.plan(self.config.tokens, random)
                for index in range(first_batch, len(plan)):
                    batch = window.batch(plan[index])
                    yield batch, Position(epoch, number, index + 1)
                first_batch = 0
            if not found and first_window == 0:
                raise DataError(
                    "there is nothing to train on",
                    where="the training corpus",
                    remedy="check the files, and that examples are under "
                    f"{self.config.max_length} tokens (batching.max_length)",
                )
            epoch, first_window = epoch + 1, 0

    def once(self) -> Iterator[Any]:
        """Every example once, in a fixed order: for validation."""
        for window in self._windows():
            for rows in window.plan(self.config.tokens, None):
                yield window.batch(rows)

    def warm(self) -> None:
        """Read and encode now what fits in memory, so that the first batch comes at once."""
        if self.config.window is None:
            next(self._windows())

    def batches_per_epoch(self) -> int:
        """How many batches the first epoch has; reads the whole corpus."""
        total = 0
        for number, window in enumerate(self._windows()):
            random = np.random.default_rng([self.seed, 0, number])
            total += len(window.plan(self.config.tokens, random))
        return total

    def _windows(self, skip: int = 0) -> Iterator[Window]:
        if self.config.window is None:
            if self._whole is None:
                self._whole = self.encode(list(self.read()))
            if skip == 0:
                yield self._whole
            return
        examples = iter(self.read())
        for _ in range(skip * self.config.window):
            next(examples, None)
        while block := list(islice(examples, self.config.window)):
            yield self.encode(block)


class TranslationStream(BatchStream):
    """Batches of sentence pairs; pairs that are too long are left out."""

    def __init__(
        self,
        read: Callable[[], Iterable[Pair]],
        tokenizer: Tokenizer,
        config: BatchingConfig,
        seed: int = 0,
        say: Callable[[str], None] = lambda message: None,
    ) -> None:
        super().__init__(read, config, seed, say)
        self.tokenizer = tokenizer

    def encode(self, examples: list[Pair]) -> PairWindow:
        sources = self.tokenizer.encode_batch([pair.source for pair in examples], eos=True)
        targets = self.tokenizer.encode_batch([pair.target for pair in examples], eos=True)
        limit = self.config.longest
        fits = [
            len(source) <= limit and len(target) <= limit
            for source, target in zip(sources, targets, strict=True)
        ]
        long = len(fits) - sum(fits)
        if long:
            example = examples[fits.index(False)].where
            self.tell(
                f"left out {long} of {len(examples)} pairs with more than {limit} tokens on a side "
                f"(the first: {example}; batching.max_length sets the limit)"
            )
        return PairWindow(
            [source for source, fit in zip(sources, fits, strict=True) if fit],
            [target for target, fit in zip(targets, fits, strict=True) if fit],
            self.tokenizer.special,
        )
