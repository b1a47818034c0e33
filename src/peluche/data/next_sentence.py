"""Rows of two pieces of text, of which the second follows the first or is from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from peluche.data.masking import MaskedBatch, MaskedStream, MaskingConfig
from peluche.data.packing import PackingConfig
from peluche.data.tokens import OFFSET, ORDER, Tokens, of_one_corpus
from peluche.errors import DataError
from peluche.text.tokenizer import Tokenizer

AROUND = 3  # [BOS] and two [EOS]
FOLLOWS, ELSEWHERE = 0, 1


class SentencePairStream(MaskedStream):
    """[BOS] a piece [EOS] another [EOS], some tokens hidden (Devlin et al. 2019, §3.1, task 2).

    A row is a stretch of one document, cut at random: a "sentence" can be any contiguous text. Half
    of the time its second part makes place for one of another document. All of that follows from
    the row's place, the epoch and the seed alone.

    Raises:
        ConfigError: the tokens are a mixture.
        DataError: there are no two documents of two tokens or more.
    """

    def __init__(
        self,
        tokens: NDArray[np.unsignedinteger] | Tokens,
        config: PackingConfig,
        seed: int,
        masking: MaskingConfig,
        tokenizer: Tokenizer,
    ) -> None:
        tokens = of_one_corpus(tokens, "pairs of sentences")
        super().__init__(tokens, config, seed, masking, tokenizer)
        begins = self.tokens.find(tokenizer.bos_id)
        ends = np.append(begins[1:], len(self.tokens)) - 1
        long = ends - begins > 2
        # Of each document, where its first token is and where its [EOS].
        self.first, self.last = begins[long] + 1, ends[long]
        if len(self.first) < 2:
            raise DataError(
                "there are no two texts of two tokens or more, so none is from elsewhere",
                where="the corpus for next_sentence",
                remedy="give a file of several texts (kind: lines or jsonl)",
            )
        self.room = config.length - AROUND

    def batch(self, starts: NDArray[np.int64], epoch: int = 0) -> MaskedBatch:
        rows = np.full((len(starts), self.config.length), Tokenizer.pad_id, dtype=np.int64)
        segments, relations = np.zeros_like(rows), np.zeros(len(starts), dtype=np.int64)
        for row, start in enumerate(starts.tolist()):
            one, other, relations[row] = self._pair(start, epoch)
            second = len(one) + 2
            ids = [Tokenizer.bos_id, *one, Tokenizer.eos_id, *other, Tokenizer.eos_id]
            rows[row, : len(ids)] = ids
            segments[row, second : len(ids)] = 1
        clean = torch.from_numpy(rows)
        return replace(
            self.masked(clean, torch.zeros_like(clean), starts, epoch),
            segments=torch.from_numpy(segments),
            relations=torch.from_numpy(relations),
        )

    def _pair(
        self, start: int, epoch: int
    ) -> tuple[NDArray[np.unsignedinteger], NDArray[np.unsignedinteger], int]:
        random = np.random.default_rng([self.seed, epoch, start, 5])
        document = int(np.searchsorted(self.first, start, side="right")) - 1
        end = min(int(self.last[document]), start + self.room)
        cut = int(random.integers(start + 1, end))
        one, size = self.tokens.read(start, cut - start), end - cut
        if random.random() < 0.5:
            return one, self.tokens.read(cut, size), FOLLOWS
        other = int(random.integers(len(self.first) - 1))
        other += other >= document
        first, last = int(self.first[other]), int(self.last[other])
        begin = int(random.integers(first, max(first, last - size) + 1))
        return one, self.tokens.read(begin, min(size, last - begin)), ELSEWHERE

    def once(self) -> Iterator[MaskedBatch]:
        """Every piece once, in order."""
        every, rows = self._stretches(0), self.config.rows
        for first in range(0, len(every), rows):
            yield self.batch(every[first : first + rows])

    def _order(self, epoch: int) -> NDArray[np.int64]:
        shift = np.random.default_rng([self.seed, epoch, OFFSET]).integers(self.room)
        return np.random.default_rng([self.seed, epoch, ORDER]).permutation(
            self._stretches(int(shift))
        )

    def _stretches(self, offset: int) -> NDArray[np.int64]:
        found = []
        for first, last in zip(self.first.tolist(), self.last.tolist(), strict=True):
            # Long documents are cut at other places each epoch.
            shift = offset % self.room if last - first > self.room else 0
            begins = np.arange(first - shift, last, self.room).clip(first)
            ends = np.append(begins[1:], last)
            found.append(begins[ends - begins > 1])
        return np.concatenate(found)
