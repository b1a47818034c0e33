"""Encoders of text: tokens in, one vector per token out. Classifiers, taggers, parsers read them.

An encoder is an embedding and a *reader* of embedded tokens, see `peluche.nn.readers`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, field_validator
from torch import Tensor, nn

from peluche.config import Config
from peluche.models.pretrained_encoder import PretrainedEncoderConfig
from peluche.models.transformer import TransformerConfig, build_stack
from peluche.nn.dropout import Dropout
from peluche.nn.readers import (
    BagReader,
    ConvolutionalReader,
    Reader,
    RecurrentReader,
    TransformerReader,
)
from peluche.nn.recurrent import CellKind, Recurrent

SEGMENTS = 2


class TextEncoder(nn.Module):
    """Embeddings of tokens and segments, whole tokens and single features dropped, then a reader.

    Args:
        embeddings: of tokens (`[PAD]` is number 0) and of segments.
        reader: reads the embeddings, followed by any further features of the tokens.

    Attributes:
        begins: whether texts begin with [BOS].
    """

    begins = False

    def __init__(
        self,
        embeddings: tuple[nn.Embedding, nn.Embedding],
        reader: Reader,
        *,
        dropout: float,
        token_dropout: float,
    ) -> None:
        super().__init__()
        self.embedding, self.segments = embeddings
        self.dropout = Dropout(dropout)
        self.token_dropout = token_dropout
        self.reader = reader
        self.width, self.directions = reader.width, reader.directions

    def forward(
        self,
        tokens: Int[Tensor, "batch length"],
        valid: Bool[Tensor, "batch length"],
        segments: Int[Tensor, "batch length"] | None = None,
        features: Float[Tensor, "batch length features"] | None = None,
    ) -> Float[Tensor, "batch length width"]:
        """Vectors of the tokens.

        `segments` tells the texts of a pair apart (0 and 1); `features` are what else is known of
        tokens, such as their spelling, and stay where a token is dropped.
        """
        hidden = self.embedding(tokens)
        if segments is not None:
            hidden = hidden + self.segments(segments)
        if self.training and self.token_dropout:
            # Gal & Ghahramani (2016) drop words; the others are not scaled up.
            kept = torch.rand(tokens.shape, device=tokens.device) >= self.token_dropout
            hidden = hidden * kept[:, :, None]
        if features is not None:
            hidden = torch.cat([hidden, features], -1)
        return self.reader(self.dropout(hidden), valid)


def _embeddings(vocabulary: int, width: int) -> tuple[nn.Embedding, nn.Embedding]:
    tokens, segments = nn.Embedding(vocabulary, width), nn.Embedding(SEGMENTS, width)
    nn.init.normal_(tokens.weight, std=width**-0.5)
    nn.init.zeros_(segments.weight)
    return tokens, segments


class _ReaderConfig(Config):
    """A reader, and the embeddings that it has in a `TextEncoder`."""

    embedding: int = Field(128, gt=0, description="width of the embeddings")
    dropout: float = Field(0.3, ge=0, lt=1, description="of embeddings, and between layers")
    token_dropout: float = Field(0.0, ge=0, lt=1, description="of whole tokens")
    pretrained: Path | None = Field(
        None, description="word vectors to start from: a run, or a file in word2vec's formats"
    )

    def build(self, vocabulary: int, features: int = 0) -> TextEncoder:
        """A freshly initialised encoder of so many different tokens, with so many features each."""
        return TextEncoder(
            _embeddings(vocabulary, self.embedding),
            self.build_reader(self.embedding + features),
            dropout=self.dropout,
            token_dropout=self.token_dropout,
        )

    def build_reader(self, inputs: int) -> Reader:
        """The reader alone, of vectors of this width."""
        raise NotImplementedError


class RecurrentEncoderConfig(_ReaderConfig):
    """RNN, GRU or LSTM layers over embeddings."""

    kind: Literal["recurrent"] = "recurrent"
    cell: CellKind = "lstm"
    hidden: int = Field(128, gt=0, description="width per direction")
    layers: int = Field(1, gt=0)
    bidirectional: bool = True

    def build_reader(self, inputs: int) -> Reader:
        return RecurrentReader(
            Recurrent(
                self.cell,
                inputs,
                self.hidden,
                layers=self.layers,
                bidirectional=self.bidirectional,
                dropout=self.dropout,
            )
        )


class ConvolutionalEncoderConfig(_ReaderConfig):
    """Convolutions of several widths side by side (Kim 2014); with max pooling, his classifier."""

    kind: Literal["convolutional"] = "convolutional"
    filters: int = Field(100, gt=0, description="per width")
    widths: tuple[int, ...] = (3, 4, 5)

    @field_validator("widths")
    @classmethod
    def _some_width(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        if not widths or min(widths) < 1:
            raise ValueError("widths are one or more numbers of tokens, such as [3, 4, 5]")
        return widths

    def build_reader(self, inputs: int) -> Reader:
        return ConvolutionalReader(inputs, self.filters, self.widths)


class TransformerEncoderConfig(TransformerConfig):
    """A Transformer encoder (Vaswani et al. 2017, §3.1)."""

    kind: Literal["transformer"] = "transformer"
    token_dropout: float = Field(0.0, ge=0, lt=1, description="of whole tokens")
    pretrained: Path | None = Field(
        None, description="word vectors to start from: a run, or a file in word2vec's formats"
    )

    def build(self, vocabulary: int, features: int = 0) -> TextEncoder:
        """A freshly initialised encoder of so many different tokens, with so many features each."""
        return TextEncoder(
            _embeddings(vocabulary, self.d_model),
            self.build_reader(self.d_model + features),
            dropout=0.0,  # the reader has its own
            token_dropout=self.token_dropout,
        )

    def build_reader(self, inputs: int) -> Reader:
        """The reader alone, of vectors of this width."""
        stack = build_stack(self, self.layers, None, bidirectional=True, cross=False)
        if self.norm_placement == "pre":
            stack.scale_branches()
        return TransformerReader(stack, inputs, self.d_model)


class BagEncoderConfig(_ReaderConfig):
    """Embeddings alone; with mean pooling, a bag of words (fastText, Joulin et al. 2017)."""

    kind: Literal["bag"] = "bag"

    def build_reader(self, inputs: int) -> Reader:
        return BagReader(inputs)


TextEncoderConfig = Annotated[
    RecurrentEncoderConfig
    | ConvolutionalEncoderConfig
    | TransformerEncoderConfig
    | BagEncoderConfig
    | PretrainedEncoderConfig,
    Field(discriminator="kind"),
]
