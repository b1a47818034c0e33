"""Sentences with tags and trees → batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from torch import Tensor

from peluche.data.batch import Batch
from peluche.data.batching import BatchingConfig, BatchStream, Ragged, Window
from peluche.data.sentences import CHAIN, Sentence
from peluche.errors import DataError
from peluche.text.labels import Labels
from peluche.text.lexicon import Lexicon
from peluche.text.subwords import Subwords

NO_CONSTITUENT = 0


@dataclass(frozen=True)
class SentenceBatch(Batch):
    """Sentences padded on the right, and what is known of their tokens.

    Attributes:
        words: (B, T) numbers of the lexicon.
        forms: (B, T) the row of `spellings` that a token has.
        spellings: (U, C) characters of the U different tokens of the batch, padded on the right.
        valid: (B, T), True for tokens, False for padding.
        tags: (B, T).
        heads: (B, T) the place of each token's head, 1 being the first token and 0 the root.
        relations: (B, T).
        spans: (B, T, T) what the tokens from the second index to the third, both included, form;
            0 where they form nothing.
        pieces: (B, P) the sentences in the pieces of words that a pretrained encoder reads.
        pieces_valid: (B, P), False at padding.
        firsts: (B, T) where each token's first piece stands.
    """

    of_all_rows: ClassVar = ("spellings",)

    words: Int[Tensor, "batch length"]
    forms: Int[Tensor, "batch length"]
    spellings: Int[Tensor, "forms characters"]
    valid: Bool[Tensor, "batch length"]
    tags: Int[Tensor, "batch length"] | None = None
    heads: Int[Tensor, "batch length"] | None = None
    relations: Int[Tensor, "batch length"] | None = None
    spans: Int[Tensor, "batch length length"] | None = None
    pieces: Int[Tensor, "batch pieces"] | None = None
    pieces_valid: Bool[Tensor, "batch pieces"] | None = None
    firsts: Int[Tensor, "batch length"] | None = None

    @property
    def target_tokens(self) -> int:
        """Tokens read."""
        return int(self.valid.sum())


@dataclass(frozen=True)
class Coding:
    """What turns sentences into numbers. What has no labels here is not encoded.

    Attributes:
        lexicon: of words and characters.
        tags: names of tags.
        relations: names of relations between a token and its head.
        constituents: names of constituents; number 0 says that there is none.
        subwords: what cuts words into the pieces that a pretrained encoder reads.
    """

    lexicon: Lexicon
    tags: Labels | None = None
    relations: Labels | None = None
    constituents: Labels | None = None
    subwords: Subwords | None = None

    def known(self, kind: Literal["tags", "relations", "constituents"]) -> Labels:
        """The names of a kind, which have to be there."""
        labels: Labels | None = getattr(self, kind)
        assert labels is not None, f"this coding has no {kind}"
        return labels

    def encode(self, sentences: Sequence[Sentence]) -> SentenceWindow:
        """Numbers of everything.

        Raises:
            DataError: a sentence lacks what is to be encoded, or has a tag or a relation that was
                never seen.
        """
        return SentenceWindow(
            self.lexicon,
            [sentence.tokens for sentence in sentences],
            subwords=self.subwords,
            tags=self._numbers(self.tags, "tags", sentences),
            heads=None if self.relations is None else [s.heads for s in sentences],
            relations=self._numbers(self.relations, "relations", sentences),
            spans=self._spans(sentences),
        )

    def _numbers(
        self, labels: Labels | None, kind: str, sentences: Sequence[Sentence]
    ) -> list[list[int]] | None:
        if labels is None:
            return None
        found = []
        for sentence in sentences:
            names = getattr(sentence, kind)
            if len(names) != len(sentence.tokens):
                raise DataError(
                    f"the sentence has {len(sentence.tokens)} tokens and {len(names)} {kind}",
                    where=sentence.where,
                    remedy=f"this model needs {kind}: read a file that has them",
                )
            found.append([labels.number(name, sentence.where) for name in names])
        return found

    def _spans(self, sentences: Sequence[Sentence]) -> list[list[tuple[int, int, int]]] | None:
        if self.constituents is None:
            return None
        numbers = {name: number for number, name in enumerate(self.constituents)}

        def number(label: str) -> int:
            # A chain of constituents never seen is taken for the inner ones that were seen.
            while label not in numbers and CHAIN in label:
                label = label.split(CHAIN, 1)[1]
            return numbers.get(label, NO_CONSTITUENT)

        return [
            [(start, end - 1, number(label)) for start, end, label in sentence.spans]
            for sentence in sentences
        ]


class SentenceWindow(Window):
    """Encoded sentences; see `SentenceBatch` for what is in them."""

    def __init__(
        self,
        lexicon: Lexicon,
        sentences: Sequence[Sequence[str]],
        *,
        subwords: Subwords | None = None,
        tags: Sequence[Sequence[int]] | None = None,
        heads: Sequence[Sequence[int]] | None = None,
        relations: Sequence[Sequence[int]] | None = None,
        spans: Sequence[Sequence[tuple[int, int, int]]] | None = None,
    ) -> None:
        forms: dict[str, int] = {}
        numbers = [[forms.setdefault(token, len(forms)) for token in one] for one in sentences]
        self.forms = Ragged(numbers)
        self.spellings = Ragged([lexicon.spelling(form) for form in forms])
        self.words = np.array([lexicon.word(form) for form in forms], dtype=np.int64)
        given = {"tags": tags, "heads": heads, "relations": relations}
        self.annotations = {
            name: Ragged(values) for name, values in given.items() if values is not None
        }
        self.spans = spans
        self.pieces: Ragged | None = None
        if subwords is not None:
            cut = subwords.encode(sentences)
            self.pieces = Ragged([one.ids for one in cut])
            self.annotations["firsts"] = Ragged([one.firsts for one in cut])

    @property
    def lengths(self) -> NDArray[np.int64]:
        return self.forms.lengths if self.pieces is None else self.pieces.lengths

    def batch(self, rows: NDArray[np.int64]) -> SentenceBatch:
        padded, valid = self.forms.padded(rows)
        # Each form of the batch once: its characters are read once, however often it occurs.
        present, places = np.unique(padded[valid], return_inverse=True)
        forms = np.zeros_like(padded)
        forms[valid] = places
        words = np.where(valid, self.words[padded], 0)
        spellings, _ = self.spellings.padded(present)
        annotations = {
            name: torch.from_numpy(values.padded(rows)[0])
            for name, values in self.annotations.items()
        }
        if self.pieces is not None:
            ids, real = self.pieces.padded(rows)
            annotations |= {"pieces": torch.from_numpy(ids), "pieces_valid": torch.from_numpy(real)}
        return SentenceBatch(
            words=torch.from_numpy(words),
            forms=torch.from_numpy(forms),
            spellings=torch.from_numpy(spellings),
            valid=torch.from_numpy(valid),
            spans=self._charts(rows, valid.shape[1]),
            **annotations,
        )

    def _charts(self, rows: NDArray[np.int64], length: int) -> Tensor | None:
        if self.spans is None:
            return None
        charts = np.full((len(rows), length, length), NO_CONSTITUENT, dtype=np.int64)
        for chart, row in zip(charts, rows.tolist(), strict=True):
            for start, last, number in self.spans[row]:
                chart[start, last] = number
        return torch.from_numpy(charts)


class SentenceStream(BatchStream):
    """Batches of annotated sentences; those that are too long are left out."""

    def __init__(
        self,
        read: Callable[[], Iterable[Sentence]],
        coding: Coding,
        config: BatchingConfig,
        seed: int = 0,
        say: Callable[[str], None] = lambda message: None,
    ) -> None:
        super().__init__(read, config, seed, say)
        self.coding = coding

    def encode(self, examples: list[Sentence]) -> SentenceWindow:
        limit = self.config.longest
        kept = [sentence for sentence in examples if len(sentence.tokens) <= limit]
        if len(kept) < len(examples):
            self.tell(
                f"left out {len(examples) - len(kept)} of {len(examples)} sentences with more than "
                f"{limit} tokens (batching.max_length sets the limit)"
            )
        return self.coding.encode(kept)
