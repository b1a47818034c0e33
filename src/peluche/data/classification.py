"""Labelled texts → batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from torch import Tensor

from peluche.data.batch import Batch
from peluche.data.batching import BatchingConfig, BatchStream, Ragged, Window
from peluche.data.labelled import LabelledText
from peluche.text.labels import Labels
from peluche.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class ClassificationBatch(Batch):
    """Texts as token ids, padded on the right, and what they are called.

    Attributes:
        tokens: (B, T), each text ends with [EOS]; of a pair, the second follows the first. For
            encoders that have learnt it so, [BOS] stands before.
        valid: (B, T), True for tokens, False for padding.
        segments: (B, T), 0 in the first text and 1 in the second; None where there are no pairs.
        labels: (B,).
    """

    tokens: Int[Tensor, "batch length"]
    valid: Bool[Tensor, "batch length"]
    segments: Int[Tensor, "batch length"] | None
    labels: Int[Tensor, "batch"]

    @property
    def target_tokens(self) -> int:
        """Tokens read."""
        return int(self.valid.sum())


class TextWindow(Window):
    """Encoded texts and their labels."""

    def __init__(
        self, texts: Sequence[Sequence[int]], firsts: Sequence[int] | None, labels: Sequence[int]
    ) -> None:
        """`firsts`: how many tokens of each belong to the first text of a pair."""
        self.texts = Ragged(texts)
        self.firsts = None if firsts is None else np.array(firsts, dtype=np.int64)
        self.labels = np.array(labels, dtype=np.int64)

    @property
    def lengths(self) -> NDArray[np.int64]:
        return self.texts.lengths

    def batch(self, rows: NDArray[np.int64]) -> ClassificationBatch:
        tokens, valid = self.texts.padded(rows)
        segments = None
        if self.firsts is not None:
            second = np.arange(tokens.shape[1]) >= self.firsts[rows, None]
            segments = torch.from_numpy(second & valid).long()
        return ClassificationBatch(
            torch.from_numpy(tokens),
            torch.from_numpy(valid),
            segments,
            torch.from_numpy(self.labels[rows]),
        )


def encode_texts(
    texts: Sequence[str],
    seconds: Sequence[str | None],
    tokenizer: Tokenizer,
    limit: int,
    *,
    begins: bool = False,
) -> tuple[list[list[int]], list[int] | None, int]:
    """Token ids, tokens of the first text of each pair, and how many texts were cut.

    A text over `limit` tokens loses its end. Of a pair each text has half of the limit, and what
    the other leaves of its half.

    Args:
        begins: put [BOS] before the text, and keep the last [EOS] where the end is cut, as
            pretrained encoders know texts.
    """
    encoded = tokenizer.encode_batch(texts, bos=begins, eos=True)

    def head(ids: list[int], length: int) -> list[int]:
        if begins and 0 < length < len(ids):
            return [*ids[: length - 1], ids[-1]]
        return ids[:length]

    if all(second is None for second in seconds):
        cut = sum(len(ids) > limit for ids in encoded)
        return [head(ids, limit) for ids in encoded], None, cut
    others = tokenizer.encode_batch([second or "" for second in seconds], eos=True)
    joined, firsts, cut = [], [], 0
    for one, other in zip(encoded, others, strict=True):
        half = limit // 2
        # What one text leaves of its half goes to the other.
        first = min(len(one), max(half, limit - len(other)))
        pair = head(one, first) + head(other, limit - first)
        cut += len(pair) < len(one) + len(other)
        joined.append(pair)
        firsts.append(first)
    return joined, firsts, cut


def cut_texts(cut: int, count: int, limit: int) -> str:
    """What is said of texts whose end is left out."""
    return (
        f"read only the first {limit} tokens of {cut} of {count} texts "
        "(batching.max_length sets the limit)"
    )


class ClassificationStream(BatchStream):
    """Batches of labelled texts; the end of texts that are too long is left out.

    Args:
        begins: see `encode_texts`.

    Raises:
        DataError: while encoding, for a label that `labels` does not hold.
    """

    def __init__(
        self,
        read: Callable[[], Iterable[LabelledText]],
        tokenizer: Tokenizer,
        labels: Labels,
        config: BatchingConfig,
        seed: int = 0,
        say: Callable[[str], None] = lambda message: None,
        *,
        begins: bool = False,
    ) -> None:
        super().__init__(read, config, seed, say)
        self.tokenizer, self.labels, self.begins = tokenizer, labels, begins

    def encode(self, examples: list[LabelledText]) -> TextWindow:
        numbers = [self.labels.number(example.label, example.where) for example in examples]
        limit = self.config.longest
        texts, firsts, cut = encode_texts(
            [example.text for example in examples],
            [example.second for example in examples],
            self.tokenizer,
            limit,
            begins=self.begins,
        )
        if cut:
            self.tell(cut_texts(cut, len(examples), limit))
        return TextWindow(texts, firsts, numbers)
