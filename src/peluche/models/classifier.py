"""Classifiers of texts and of pairs of texts: an encoder, pooling, one output per label."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from peluche.config import Config
from peluche.data.classification import ClassificationBatch
from peluche.models.text_encoders import RecurrentEncoderConfig, TextEncoderConfig
from peluche.models.wide import WideConfig
from peluche.nn.dropout import Dropout
from peluche.nn.pooling import Pooling, PoolingKind


class ClassifierConfig(Config):
    """An encoder, how its vectors become one, dropout before the output, and n-grams beside it."""

    kind: Literal["classifier"] = "classifier"
    encoder: TextEncoderConfig = RecurrentEncoderConfig()
    pooling: PoolingKind = "max"
    dropout: float = Field(0.5, ge=0, lt=1, description="of the pooled vector")
    wide: WideConfig | None = Field(None, description="logits of n-grams besides")

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
        self.wide = None if config.wide is None else config.wide.build(labels)

    def count(self, batches: Iterable[ClassificationBatch]) -> None:
        """Before training: what is not trained but counted in the training texts, if anything."""
        if self.wide is not None:
            self.wide.count(batches)

    def hidden(
        self,
        tokens: Int[Tensor, "batch length"],
        valid: Bool[Tensor, "batch length"],
        segments: Int[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "batch width"]:
        """One vector per text; `valid` is False at padding, `segments` tells a pair apart.

        With `wide`, the logits of n-grams stand at its end.
        """
        pooled = self.pooling(self.encoder(tokens, valid, segments), valid)
        if self.wide is None:
            return pooled
        return torch.cat([pooled, self.wide(tokens, valid, segments)], 1)

    def logits(self, hidden: Float[Tensor, "batch width"]) -> Float[Tensor, "batch labels"]:
        """Scores of the labels: the sum over `parts`."""
        return torch.stack(self.parts(hidden)).sum(0)

    @property
    def part_count(self) -> int:
        """How many `parts` there are."""
        return 1 if self.wide is None else 2

    def parts(self, hidden: Float[Tensor, "batch width"]) -> list[Float[Tensor, "batch labels"]]:
        """The scores that add up: the encoder's, and with `wide` those of n-grams."""
        if self.wide is None:
            return [self.head(self.dropout(hidden))]
        width = self.encoder.width
        return [self.head(self.dropout(hidden[:, :width])), hidden[:, width:]]
