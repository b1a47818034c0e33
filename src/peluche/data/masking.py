"""Packed texts with some tokens hidden, for models that say what stood there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from peluche.config import Config
from peluche.data.batch import Batch
from peluche.data.packing import PackedRows, PackingConfig
from peluche.data.tokens import Tokens
from peluche.errors import ConfigError
from peluche.text.pipelines import BYTE_CHARACTERS, CONTINUATION, MARK
from peluche.text.tokenizer import Tokenizer

SPACE = BYTE_CHARACTERS[ord(" ")]


class MaskingConfig(Config):
    """Which tokens are hidden, and by what (Devlin et al. 2019, §3.1, task 1).

    Attributes:
        share: of the tokens.
        mask, random: of those, this share becomes [MASK] and this share another token; the rest
            stays as it is.
        whole_words: hide all tokens of a word or none.
    """

    share: float = Field(0.15, gt=0, lt=1)
    mask: float = Field(0.8, ge=0, le=1)
    random: float = Field(0.1, ge=0, le=1)
    whole_words: bool = False

    @model_validator(mode="after")
    def _shares_fit(self) -> MaskingConfig:
        if self.mask + self.random > 1:
            raise ValueError(
                f"mask {self.mask} and random {self.random} are more than all; "
                f"nearest that fits: random {1 - self.mask:g}"
            )
        return self


@dataclass(frozen=True)
class MaskedBatch(Batch):
    """Rows of packed documents, some tokens hidden.

    Attributes:
        tokens: (B, T), with [MASK] and other tokens in places.
        labels: (B, T): what stood there.
        hidden: (B, T), True where it is to be said.
        present: (B, T), False at padding.
        document_ids: (B, T): documents of a row, numbered from 0.
        segments: (B, T), 0 in the first and 1 in the second text of a row of two; None for others.
        relations: (B,), of rows of two texts: 0 if the second follows the first, 1 if not.
    """

    tokens: Int[Tensor, "batch length"]
    labels: Int[Tensor, "batch length"]
    hidden: Bool[Tensor, "batch length"]
    present: Bool[Tensor, "batch length"]
    document_ids: Int[Tensor, "batch length"]
    segments: Int[Tensor, "batch length"] | None = None
    relations: Int[Tensor, "batch"] | None = None

    @property
    def target_tokens(self) -> int:
        """Tokens that are read, hidden ones included."""
        return int(self.present.sum())


class MaskedStream(PackedRows[MaskedBatch]):
    """Rows with some tokens hidden.

    What is hidden in a row follows from the row's place, the epoch and the seed alone.

    Args:
        masking: what is hidden.
        tokenizer: has a token [MASK].
    """

    def __init__(
        self,
        tokens: NDArray[np.unsignedinteger] | Tokens,
        config: PackingConfig,
        seed: int,
        masking: MaskingConfig,
        tokenizer: Tokenizer,
    ) -> None:
        super().__init__(tokens, config, seed)
        self.masking, self.mask_id, self.vocabulary = masking, tokenizer.mask_id, len(tokenizer)
        if self.mask_id < 0:
            raise ConfigError(
                "the tokenizer has no token [MASK]", remedy="set tokenizer.special=[[MASK]]"
            )
        self.special = np.isin(np.arange(self.vocabulary), sorted(tokenizer.special_ids))
        self.begins = word_beginnings(tokenizer) if masking.whole_words else None

    def batch(self, starts: NDArray[np.int64], epoch: int = 0) -> MaskedBatch:
        """The rows that begin at these places."""
        plain = self.plain(starts)
        return self.masked(plain.tokens, plain.document_ids, starts, epoch)

    def masked(
        self,
        clean: Int[Tensor, "rows length"],
        document_ids: Int[Tensor, "rows length"],
        starts: NDArray[np.int64],
        epoch: int,
    ) -> MaskedBatch:
        """Rows that begin at these places, with some tokens hidden."""
        rows = clean.numpy().copy()
        hidden = np.zeros(rows.shape, dtype=bool)
        for number, start in enumerate(starts.tolist()):
            random = np.random.default_rng([self.seed, epoch, start, 2])
            places = self._places(rows[number], random)
            hidden[number, places] = True
            draw = random.random(len(places))
            masked = draw < self.masking.mask
            other = ~masked & (draw < self.masking.mask + self.masking.random)
            rows[number, places[masked]] = self.mask_id
            ordinary = np.flatnonzero(~self.special)
            rows[number, places[other]] = random.choice(ordinary, int(other.sum()))
        return MaskedBatch(
            torch.from_numpy(rows),
            clean,
            torch.from_numpy(hidden),
            clean != Tokenizer.pad_id,
            document_ids,
        )

    def _places(self, row: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """Where tokens are hidden; at least one is, where there is an ordinary one."""
        ordinary = np.flatnonzero(~self.special[row])
        wanted = max(1, round(self.masking.share * len(ordinary)))
        if self.begins is None:
            return np.sort(random.permutation(ordinary)[:wanted])
        words = np.cumsum(self.begins[row] | self.special[row])
        order = random.permutation(np.unique(words[ordinary]))
        sizes = np.bincount(words[ordinary], minlength=int(order.max(initial=0)) + 1)[order]
        # The words that fit before the share is passed, one at least.
        count = max(1, int(np.searchsorted(np.cumsum(sizes), wanted, side="right")))
        return ordinary[np.isin(words[ordinary], order[:count])]


def word_beginnings(tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """(V,) True for tokens that begin a word, as the kind of tokenizer marks them."""
    tokens = tokenizer.tokens()
    if tokenizer.kind == "wordpiece":
        return np.array([not token.startswith(CONTINUATION) for token in tokens])
    mark = SPACE if tokenizer.byte_level else MARK
    if not any(token.startswith(mark) for token in tokens):
        raise ConfigError(
            f"a tokenizer of kind '{tokenizer.kind}' does not mark where words begin",
            remedy="set masking.whole_words=false, or tokenizer.kind to bpe or wordpiece",
        )
    return np.array([token.startswith(mark) for token in tokens])
