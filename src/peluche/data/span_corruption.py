"""Texts with spans cut out, for encoder-decoders that say what stood there (T5).

A row is a piece of one document, so that nothing of another is ever seen: a short document is a row
as it is, a long one is cut into pieces that fill rows exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from peluche.config import Config
from peluche.data.batching import PairWindow, Position, TranslationBatch, Window
from peluche.data.packing import PackingConfig
from peluche.data.tokens import Tokens, of_one_corpus
from peluche.errors import ConfigError, DataError
from peluche.text.tokenizer import Tokenizer

SENTINEL = "<extra_id_{}>"
# A token that stays and one that is hidden.
SHORTEST = 2


class SpanCorruptionConfig(Config):
    """How much of a text is hidden (Raffel et al. 2020, §3.1.4 and §3.3.4).

    Attributes:
        density: share of the tokens that are hidden.
        mean_span: of so many in a row, on average.
        sentinels: tokens that stand for spans, of which each row needs one a span. A pretrained
            tokenizer has its own.
    """

    density: float = Field(0.15, gt=0, lt=1)
    mean_span: float = Field(3.0, ge=1)
    sentinels: int = Field(100, gt=0)

    @model_validator(mode="after")
    def _mean_is_reached(self) -> SpanCorruptionConfig:
        most = self.mean_span * (1 - self.density)
        if self.density > most:
            raise ValueError(
                f"spans of {self.mean_span:g} tokens cannot be {self.density:g} of a text with a "
                f"token between them; nearest that fits: "
                f"mean_span {self.density / (1 - self.density):g}"
            )
        return self

    def spans(self, length: int) -> tuple[int, int]:
        """How many of `length` tokens are hidden, and in how many spans; one at least."""
        hidden = min(max(round(length * self.density), 1), length - 1)
        return hidden, min(max(round(hidden / self.mean_span), 1), length - hidden)

    def lengths(self, length: int) -> tuple[int, int]:
        """Of the input and the target that `length` tokens become, sentinels and [EOS] included."""
        hidden, spans = self.spans(length)
        return length - hidden + spans + 1, hidden + spans + 1

    def raw_length(self, length: int) -> int:
        """The most tokens that become an input of at most `length`."""
        raw = max(SHORTEST, length - 1)
        while self.lengths(raw + 1)[0] <= length:
            raw += 1
        return raw

    def names(self) -> tuple[str, ...]:
        """The sentinels in their order, as T5's vocabulary calls them."""
        return tuple(SENTINEL.format(number) for number in range(self.sentinels))


def random_spans(
    length: int, config: SpanCorruptionConfig, random: np.random.Generator
) -> NDArray[np.bool_]:
    """(length,) True where tokens are hidden: every way to place the spans is as likely.

    Spans of one token or more, at least one visible token between two. T5's own
    `random_spans_noise_mask` lets every row begin visible and end hidden, which rows of 512 tokens
    hardly notice; here a row may be a sentence with one span in it.

    Args:
        length: two at least.
    """
    hidden, spans = config.spans(length)
    runs = np.empty(2 * spans + 1, dtype=np.int64)
    runs[0::2] = _composition(length - hidden + 2, spans + 1, random)
    runs[[0, -1]] -= 1  # at the ends, there need not be any
    runs[1::2] = _composition(hidden, spans, random)
    return np.repeat(np.arange(2 * spans + 1) % 2 == 1, runs)


def _composition(total: int, parts: int, random: np.random.Generator) -> NDArray[np.int64]:
    """A total as so many numbers over 0, every way as likely."""
    cuts = np.sort(random.permutation(total - 1)[: parts - 1]) + 1
    return np.diff(np.concatenate([[0], cuts, [total]]))


def corrupt(
    tokens: NDArray[np.int64], hidden: NDArray[np.bool_], sentinels: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Input and target, without [EOS].

    The input has a sentinel in place of each hidden run, the target the same sentinels, each with
    what it hides after it.

    Args:
        tokens, hidden: (T,).
        sentinels: the first run becomes the first of them.
    """
    begins = hidden & ~np.concatenate([[False], hidden[:-1]])
    marks = np.asarray(sentinels, dtype=np.int64)[: begins.sum()]
    source = np.where(begins, 0, tokens)
    source[begins] = marks
    places = np.flatnonzero(hidden)
    target = np.insert(tokens[places], np.flatnonzero(begins[places]), marks)
    return source[~hidden | begins].tolist(), target.tolist()


class SpanStream:
    """An endless, resumable stream of batches: the corrupted texts, and what is hidden of them.

    What is hidden in a row follows from its place, the epoch and the seed alone; long documents are
    cut at other places each epoch.

    Args:
        tokens: documents one after the other, each [BOS], its tokens, [EOS]; see `pack`.
        config: `length` is that of inputs, [EOS] included.
        tokenizer: has the sentinels.

    Raises:
        ConfigError: it has not as many as a row needs; or the tokens are a mixture.
        DataError: no document has two tokens.
    """

    def __init__(
        self,
        tokens: NDArray[np.unsignedinteger] | Tokens,
        config: PackingConfig,
        seed: int,
        corruption: SpanCorruptionConfig,
        tokenizer: Tokenizer,
    ) -> None:
        self.tokens = of_one_corpus(tokens, "spans")
        self.config, self.seed = config, seed
        self.corruption, self.tokenizer = corruption, tokenizer
        self.raw = corruption.raw_length(config.length)
        self.sentinels = sentinel_ids(tokenizer, corruption.spans(self.raw)[1])
        self.ends = self.tokens.find(tokenizer.eos_id)
        self.starts = np.concatenate([[0], self.ends[:-1] + 1])
        self.starts += np.isin(self.starts, self.tokens.find(tokenizer.bos_id))
        if not (self.ends - self.starts >= SHORTEST).any():
            raise DataError(
                f"no text has {SHORTEST} tokens, so that one could be hidden",
                remedy="check the files",
            )

    def batches_per_epoch(self) -> int:
        return len(self._plan(0)[1])

    def batches(
        self, position: Position = Position()
    ) -> Iterator[tuple[TranslationBatch, Position]]:
        """Batches from `position` on, each with the position after it, epoch after epoch."""
        epoch, _, first = position
        while True:
            rows, plan = self._plan(epoch)
            for number in range(first, len(plan)):
                yield rows.batch(plan[number]), Position(epoch, 0, number + 1)
            epoch, first = epoch + 1, 0

    def once(self) -> Iterator[TranslationBatch]:
        """Every piece once, corrupted as in the first epoch."""
        rows = _Pieces(self, 0)
        for numbers in rows.plan(self.config.tokens, None):
            yield rows.batch(numbers)

    def _plan(self, epoch: int) -> tuple[_Pieces, list[NDArray[np.int64]]]:
        rows = _Pieces(self, epoch)
        return rows, rows.plan(self.config.tokens, np.random.default_rng([self.seed, epoch, 1]))

    def pieces(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the pieces of an epoch begin and end."""
        random = np.random.default_rng([self.seed, epoch, 0])
        long = self.ends - self.starts > self.raw
        # A long document's first piece may be shorter, as if it had begun before the document.
        first = self.starts - np.where(long, random.integers(self.raw), 0)
        counts = -(-(self.ends - first) // self.raw)
        document = np.repeat(np.arange(len(first)), counts)
        number = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
        begin = first[document] + number * self.raw
        end = np.minimum(begin + self.raw, self.ends[document])
        begin = np.maximum(begin, self.starts[document])
        kept = end - begin >= SHORTEST
        return begin[kept], end[kept]


class _Pieces(Window):
    """The rows of an epoch."""

    def __init__(self, stream: SpanStream, epoch: int) -> None:
        self.stream, self.epoch = stream, epoch
        self.begin, self.end = stream.pieces(epoch)

    @property
    def lengths(self) -> NDArray[np.int64]:
        return self.end - self.begin

    def batch(self, rows: NDArray[np.int64]) -> TranslationBatch:
        stream = self.stream
        sources, targets = [], []
        for begin, end in zip(self.begin[rows].tolist(), self.end[rows].tolist(), strict=True):
            random = np.random.default_rng([stream.seed, self.epoch, begin, 5])
            hidden = random_spans(end - begin, stream.corruption, random)
            tokens = stream.tokens.read(begin, end - begin).astype(np.int64)
            source, target = corrupt(tokens, hidden, stream.sentinels)
            sources.append([*source, stream.tokenizer.eos_id])
            targets.append([*target, stream.tokenizer.eos_id])
        return PairWindow(sources, targets, stream.tokenizer.special).batch(np.arange(len(rows)))


def sentinel_ids(tokenizer: Tokenizer, count: int) -> list[int]:
    """Ids of the first `count` sentinels.

    Raises:
        ConfigError: the tokenizer has not so many.
    """
    ids = [tokenizer.id(SENTINEL.format(number)) for number in range(count)]
    found = [number for number in ids if number is not None]
    if len(found) < count:
        raise ConfigError(
            f"a row needs {count} sentinels and the tokenizer has {len(found)}",
            remedy=f"set corruption.sentinels to {count} or more, or a shorter batching.length",
        )
    return found
