"""Constituency parsing: what every span of words is called, if anything."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from peluche.data.annotation import NO_CONSTITUENT, Coding, SentenceBatch
from peluche.models.word_reader import WordReader, WordReaderConfig
from peluche.nn.biaffine import Biaffine, Projection


class SpanParserConfig(WordReaderConfig):
    """A reader of words, and the width in which they begin and end constituents."""

    kind: Literal["span_parser"] = "span_parser"
    ends: int = Field(128, gt=0, description="width of words as first and as last of a span")
    dropout: float = Field(0.33, ge=0, lt=1, description="of both")

    def build(self, coding: Coding) -> SpanParser:
        """A freshly initialised model for these words and labels."""
        return SpanParser(self, coding)


class SpanScores(NamedTuple):
    """A batch as the parser sees it.

    Attributes:
        spans: (B, T, T, constituents) scores of each span from a first to a last word.
        tags: (B, T, tags) scores.
    """

    spans: Tensor
    tags: Tensor


class SpanParser(nn.Module):
    """Names each span by itself from its two ends; a chart search makes a tree of the names.

    Local models of this kind come close to those trained on whole trees (Teng & Zhang 2018). The
    ends meet in a biaffine form (Zhang et al. 2020, §3.2).
    """

    def __init__(self, config: SpanParserConfig, coding: Coding) -> None:
        super().__init__()
        self.config = config
        self.reader = WordReader(config, coding.lexicon)
        width = self.reader.width
        self.first = Projection(width, config.ends, config.dropout)
        self.last = Projection(width, config.ends, config.dropout)
        self.span = Biaffine(config.ends, config.ends, len(coding.known("constituents")))
        self.tag = nn.Linear(width, len(coding.known("tags")))

    def forward(self, batch: SentenceBatch) -> SpanScores:
        """Scores of the constituents of all spans and of the tags of all words."""
        words = self.reader(batch)
        spans = self.span(self.first(words), self.last(words))
        return SpanScores(spans.permute(0, 2, 3, 1), self.tag(words))

    @torch.no_grad()
    def gains(self, scores: SpanScores) -> Float[Tensor, "batch length length constituents"]:
        """log p(name) − log p(no constituent): what naming a span adds to a tree."""
        logs = scores.spans.log_softmax(-1)
        return logs - logs[..., NO_CONSTITUENT, None]
