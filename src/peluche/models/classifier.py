"""Classifiers of texts and of pairs of texts: an encoder, pooling, one output per label."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from peluche.config import Config
from peluche.models.text_encoders import RecurrentEncoderConfig, TextEncoderConfig
from peluche.nn.dropout import Dropout
from peluche.nn.pooling import Pooling, PoolingKind


class ClassifierConfig(Config):
    """An encoder, how its vectors become one, and dropout before the output."""

    kind: Literal["classifier"] = "classifier"
    encoder: TextEncoderConfig = RecurrentEncoderConfig()
    pooling: PoolingKind = "max"
    dropout: float = Field(0.5, ge=0, lt=1, description="of the pooled vector")

    def build(self, vocabulary: int, labels: int) -> Classifier:
        """A freshly initialised model for so many tokens and labels."""
        return Classifier(self, vocabulary, labels)


class Classifier(nn.Module):
    """Reads a text, says how likely each label is."""

    def __init__(self, config: ClassifierConfig, vocabulary: int, labels: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = config.encoder.build(vocabulary)
        self.pooling = Pooling(config.pooling, self.encoder.width, self.encoder.directions)
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(self.encoder.width, labels)

    def hidden(
        self,
        tokens: Int[Tensor, "batch length"],
        valid: Bool[Tensor, "batch length"],
        segments: Int[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "batch width"]:
        """One vector per text; `valid` is False at padding, `segments` tells a pair apart."""
        return self.pooling(self.encoder(tokens, valid, segments), valid)

    def logits(self, hidden: Float[Tensor, "batch width"]) -> Float[Tensor, "batch labels"]:
        """Scores of the labels."""
        return self.head(self.dropout(hidden))
