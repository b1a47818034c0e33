"""Dependency parsing with deep biaffine attention (Dozat & Manning 2017), tagging on the side."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from peluche.data.annotation import Coding, SentenceBatch
from peluche.models.word_reader import WordReader, WordReaderConfig
from peluche.nn.biaffine import Biaffine, Projection


class DependencyParserConfig(WordReaderConfig):
    """A reader of words, and the widths in which they are heads and dependents."""

    kind: Literal["dependency_parser"] = "dependency_parser"
    arcs: int = Field(256, gt=0, description="width of words as heads and as dependents")
    relations: int = Field(96, gt=0, description="the same, to tell relations")
    dropout: float = Field(0.33, ge=0, lt=1, description="of both")

    def build(self, coding: Coding) -> DependencyParser:
        """A freshly initialised model for these words and labels."""
        return DependencyParser(self, coding)


class Read(NamedTuple):
    """A batch as the parser sees it.

    Attributes:
        arcs: (B, T, T + 1) scores of each word's heads, the root first; −∞ at padding.
        heads: (B, T + 1, width) and
        dependents: (B, T, width), to tell relations.
        tags: (B, T, tags) scores.
    """

    arcs: Tensor
    heads: Tensor
    dependents: Tensor
    tags: Tensor


class DependencyParser(nn.Module):
    """Scores heads, relations and tags of words."""

    def __init__(self, config: DependencyParserConfig, coding: Coding) -> None:
        super().__init__()
        self.config = config
        self.reader = WordReader(config, coding.lexicon)
        width = self.reader.width
        self.root = nn.Parameter(torch.randn(width) * width**-0.5)
        self.arc_head = Projection(width, config.arcs, config.dropout)
        self.arc_dependent = Projection(width, config.arcs, config.dropout)
        self.relation_head = Projection(width, config.relations, config.dropout)
        self.relation_dependent = Projection(width, config.relations, config.dropout)
        self.arc = Biaffine(config.arcs, config.arcs, 1)
        self.relation = Biaffine(config.relations, config.relations, len(coding.known("relations")))
        self.tag = nn.Linear(width, len(coding.known("tags")))

    def read(self, batch: SentenceBatch) -> Read:
        """Everything but the relations, which are scored for chosen heads."""
        words = self.reader(batch)
        rows = len(words)
        candidates = torch.cat([self.root.expand(rows, 1, -1), words], 1)
        arcs = self.arc(self.arc_dependent(words), self.arc_head(candidates))[:, 0]
        real = torch.cat([batch.valid.new_ones(rows, 1), batch.valid], 1)
        return Read(
            arcs.masked_fill(~real[:, None], -torch.inf),
            self.relation_head(candidates),
            self.relation_dependent(words),
            self.tag(words),
        )

    def relations(
        self, read: Read, batch: SentenceBatch, heads: Int[Tensor, "batch length"]
    ) -> Float[Tensor, "words relations"]:
        """Scores of the relation of each word (padding left out) to its head."""
        index = heads[:, :, None].expand(-1, -1, read.heads.shape[-1])
        chosen = read.heads.gather(1, index)
        return self.relation.paired(read.dependents[batch.valid], chosen[batch.valid])
