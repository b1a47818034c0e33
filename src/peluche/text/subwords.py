"""Words as the pieces of them that a pretrained encoder reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from peluche.errors import DataError
from peluche.text.tokenizer import Tokenizer


class Pieces(NamedTuple):
    """A sentence in pieces.

    Attributes:
        ids: of all pieces, between [BOS] and [EOS].
        firsts: where each word's first piece stands, which speaks for the word (Devlin et al. 2019,
            §5.3).
    """

    ids: list[int]
    firsts: list[int]


class Subwords:
    """Cuts sentences whose words are given.

    Args:
        tokenizer: of the encoder.
        longest: the most tokens that it reads, None for any number.
    """

    def __init__(self, tokenizer: Tokenizer, longest: int | None = None) -> None:
        self.tokenizer, self.longest = tokenizer, longest

    def encode(self, sentences: Sequence[Sequence[str]]) -> list[Pieces]:
        """Pieces of each sentence. Where they are too many, the first one of each word is read.

        Raises:
            DataError: even those are too many.
        """
        words = list({word: None for sentence in sentences for word in sentence})
        # Pieces of byte-level tokenizers have the space before them in them.
        before = " " if self.tokenizer.byte_level else ""
        ids = self.tokenizer.encode_batch([before + word for word in words])
        # A word of characters that the tokenizer drops still is a word.
        unknown = [max(self.tokenizer.unk_id, 0)]
        cut = {word: found or unknown for word, found in zip(words, ids, strict=True)}
        return [self._join(sentence, [cut[word] for word in sentence]) for sentence in sentences]

    def _join(self, sentence: Sequence[str], cut: Sequence[Sequence[int]]) -> Pieces:
        ids = self.tokenizer.around([piece for word in cut for piece in word])
        around = len(self.tokenizer.around([]))
        if self.longest is not None and len(ids) > self.longest:
            cut = [word[:1] for word in cut]
            ids = self.tokenizer.around([word[0] for word in cut])
            if len(ids) > self.longest:
                raise DataError(
                    f"the sentence has {len(cut):,} words; the encoder reads "
                    f"{self.longest - around} at most",
                    where=f"'{' '.join(sentence[:8])} …'",
                    remedy="part the text into sentences, one a line",
                )
        first, firsts = int(self.tokenizer.bos_id >= 0), []
        for word in cut:
            firsts.append(first)
            first += len(word)
        return Pieces(ids, firsts)
