"""Extractive question answering: which piece of a text answers (Devlin et al. 2019, §4.2)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from peluche.config import Config
from peluche.data.answering import AnswerBatch
from peluche.models.text_encoders import TextEncoderConfig, TransformerEncoderConfig
from peluche.nn.dropout import Dropout


class AnswererConfig(Config):
    """An encoder of question and text, and dropout of its vectors."""

    kind: Literal["answerer"] = "answerer"
    encoder: TextEncoderConfig = TransformerEncoderConfig()
    dropout: float = Field(0.1, ge=0, lt=1)

    def build(self, vocabulary: int) -> Answerer:
        """A freshly initialised model for so many tokens."""
        return Answerer(self, vocabulary)


class SpanScores(NamedTuple):
    """Scores of tokens as the first and as the last of the answer, (B, T) each; −∞ elsewhere."""

    starts: Float[Tensor, "batch length"]
    ends: Float[Tensor, "batch length"]


class Answerer(nn.Module):
    """Scores where an answer begins and where it ends."""

    def __init__(self, config: AnswererConfig, vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = config.encoder.build(vocabulary)
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(self.encoder.width, 2)

    def scores(self, batch: AnswerBatch) -> SpanScores:
        """Of the tokens where an answer may begin and end."""
        hidden = self.encoder(batch.tokens, batch.valid, batch.segments)
        scores = self.head(self.dropout(hidden))
        scores = scores.masked_fill(~batch.allowed[:, :, None], -torch.inf)
        return SpanScores(*scores.unbind(-1))
