"""How texts become the tokens that are packed, with a name for it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

from peluche.text.tokenizer import OWN, Tokenizer


class Tokenization(Protocol):
    """Makes ids of texts; a process of its own may do so, so it can be pickled."""

    tokenizer: Tokenizer

    def __call__(self, texts: Sequence[str], first: int = 0) -> Sequence[Sequence[int]]:
        """Ids of each text with [BOS] and [EOS]; `first` is the number of the first text."""
        ...

    @property
    def name(self) -> str:
        """Differs from that of every encoding that makes other tokens with the tokenizer."""
        ...


class PlainTokenization:
    """Texts as they are, between [BOS] and [EOS]."""

    name = "plain"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def __call__(self, texts: Sequence[str], first: int = 0) -> list[list[int]]:
        return self.tokenizer.encode_batch(texts, bos=True, eos=True)


def tokenizer_sum(tokenizer: Tokenizer) -> str:
    """A SHA-256 that differs for tokenizers that cut or mark texts differently."""
    special = "" if tokenizer.special == OWN else str(tuple(tokenizer.special))
    return hashlib.sha256((tokenizer.to_json() + special).encode()).hexdigest()
