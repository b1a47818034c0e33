"""Pairs of texts that belong together → batches in which all others do not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from peluche.data.batch import Batch
from peluche.data.batching import BatchingConfig, BatchStream, PairWindow
from peluche.data.classification import cut_texts, encode_texts
from peluche.data.pairs import Pair
from peluche.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class ContrastiveBatch(Batch):
    """Pairs of texts as token ids, padded on the right; row n of one belongs to row n of the other.

    Attributes:
        source: (B, S), each text ends with [EOS].
        source_valid: (B, S), True for tokens, False for padding.
        target: (B, T).
        target_valid: (B, T).
    """

    source: Int[Tensor, "batch source"]
    source_valid: Bool[Tensor, "batch source"]
    target: Int[Tensor, "batch target"]
    target_valid: Bool[Tensor, "batch target"]

    @property
    def target_tokens(self) -> int:
        """Tokens read, of both sides."""
        return int(self.source_valid.sum() + self.target_valid.sum())

    @classmethod
    def join(cls, batches: Sequence[ContrastiveBatch]) -> ContrastiveBatch:
        """The pairs of all, padded to the longest."""
        columns = zip(*(vars(batch).values() for batch in batches), strict=True)
        joined = []
        for column in columns:
            width = max(tensor.shape[1] for tensor in column)
            # Padding is number 0, and False where it is said what is none.
            joined.append(torch.cat([F.pad(one, (0, width - one.shape[1])) for one in column]))
        return cls(*joined)


class _Window(PairWindow):
    def batch(self, rows: NDArray[np.int64]) -> ContrastiveBatch:  # type: ignore[override]
        arrays = (*self.source.padded(rows), *self.target.padded(rows))
        return ContrastiveBatch(*(torch.from_numpy(array) for array in arrays))


class ContrastiveStream(BatchStream):
    """Batches of pairs; the end of texts that are too long is left out.

    Args:
        begins: put [BOS] before each text, as pretrained encoders know texts.
    """

    def __init__(
        self,
        read: Callable[[], Iterable[Pair]],
        tokenizer: Tokenizer,
        config: BatchingConfig,
        seed: int = 0,
        say: Callable[[str], None] = lambda message: None,
        *,
        begins: bool = False,
    ) -> None:
        super().__init__(read, config, seed, say)
        self.tokenizer, self.begins = tokenizer, begins

    def encode(self, examples: list[Pair]) -> _Window:
        limit = self.config.longest
        sides: list[list[list[int]]] = []
        cut = 0
        for texts in zip(*((pair.source, pair.target) for pair in examples), strict=True):
            none = [None] * len(texts)
            ids, _, over = encode_texts(texts, none, self.tokenizer, limit, begins=self.begins)
            sides.append(ids)
            cut += over
        if cut:
            self.tell(cut_texts(cut, 2 * len(examples), limit))
        source, target = sides
        return _Window(source, target)
