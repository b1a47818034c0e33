"""Taggers: a label for every word of a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from peluche.data.annotation import Coding, SentenceBatch
from peluche.metrics.entities import may_follow
from peluche.models.word_reader import WordReader, WordReaderConfig
from peluche.nn.crf import LinearChain


class TaggerConfig(WordReaderConfig):
    """A reader of words and what chooses tags: each by itself, or all of a sentence together."""

    kind: Literal["tagger"] = "tagger"
    crf: bool = False
    well_formed: bool = Field(
        False, description="the CRF keeps to BIO or BIOES; so must the tags it learns from"
    )

    @model_validator(mode="after")
    def _the_crf_sees_sequences(self) -> TaggerConfig:
        if self.well_formed and not self.crf:
            raise ValueError("well_formed needs crf: true, which knows what follows what")
        return self

    def build(self, coding: Coding) -> Tagger:
        """A freshly initialised model for these words and labels."""
        return Tagger(self, coding)


class Tagger(nn.Module):
    """Scores tags of words; with a CRF also what may follow what (Lample et al. 2016, §2.2)."""

    def __init__(self, config: TaggerConfig, coding: Coding) -> None:
        super().__init__()
        tags = len(coding.known("tags"))
        self.config = config
        self.reader = WordReader(config, coding.lexicon)
        self.head = nn.Linear(self.reader.width, tags)
        forbidden = forbidden_moves(coding.known("tags")) if config.well_formed else None
        self.chain = LinearChain(tags, forbidden) if config.crf else None

    def logits(self, batch: SentenceBatch) -> Float[Tensor, "batch length tags"]:
        """Scores of each word's tags, without regard to its neighbours' tags."""
        return self.head(self.reader(batch))

    @torch.no_grad()
    def decode(self, batch: SentenceBatch) -> Int[Tensor, "batch length"]:
        """The best tags; 0 at padding."""
        logits = self.logits(batch)
        if self.chain is not None:
            return self.chain.decode(logits, batch.valid)
        return logits.argmax(-1).masked_fill(~batch.valid, 0)


def forbidden_moves(tags: Sequence[str]) -> Bool[Tensor, "tags_and_2 tags_and_2"]:
    """Which tags may not follow which, as `LinearChain` wants it.

    Raises:
        DataError: tags do not mark entities.
    """
    bioes = any(tag[:2] in ("E-", "S-") for tag in tags)
    names = [*tags, None, None]
    moves = [[not may_follow(before, tag, bioes=bioes) for tag in names] for before in names]
    return torch.tensor(moves)
