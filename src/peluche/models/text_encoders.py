"""Encoders of text: tokens in, one vector per token out. Classifiers, taggers, parsers read them.

An encoder is an embedding and a *reader* of embedded tokens: recurrent, convolutional, Transformer,
or none at all (a bag of words, to compare them with). All readers share one surface:
`forward(embedded, valid)`, `width` and `directions`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from peluche.config import Config
from peluche.models.transformer import TransformerConfig, build_stack
from peluche.nn.dropout import Dropout
from peluche.nn.masks import Padding, prepare
from peluche.nn.recurrent import CellKind, Recurrent

SEGMENTS = 2


class Reader(nn.Module):
    """From embedded tokens to one vector per token that knows its sentence.

    Attributes:
        width: of what is given per token.
        directions: 2 if the second half of it was read backwards.
    """

    width: int
    directions: int = 1

    def forward(
        self, embedded: Float[Tensor, "batch length inputs"], valid: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length width"]:
        """Vectors of the tokens; what stands at padding has no meaning."""
        raise NotImplementedError


class TextEncoder(nn.Module):
    """Embeddings of tokens and segments, whole tokens and single features dropped, then a reader.

    Args:
        width: of the embeddings.
        reader: reads the embeddings, followed by any further features of the tokens.

    Attributes:
        embedding: of tokens; `[PAD]` is number 0.
    """

    def __init__(
        self, vocabulary: int, width: int, reader: Reader, *, dropout: float, token_dropout: float
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.segments = nn.Embedding(SEGMENTS, width)
        self.dropout = Dropout(dropout)
        self.token_dropout = token_dropout
        self.reader = reader
        self.width, self.directions = reader.width, reader.directions
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        nn.init.zeros_(self.segments.weight)

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
            vocabulary,
            self.embedding,
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
        return RecurrentReader(self, inputs)


class RecurrentReader(Reader):
    """See `RecurrentEncoderConfig`."""

    def __init__(self, config: RecurrentEncoderConfig, inputs: int) -> None:
        super().__init__()
        self.recurrent = Recurrent(
            config.cell,
            inputs,
            config.hidden,
            layers=config.layers,
            bidirectional=config.bidirectional,
            dropout=config.dropout,
        )
        self.width, self.directions = self.recurrent.outputs, self.recurrent.directions

    def forward(self, embedded: Tensor, valid: Tensor) -> Tensor:
        hidden, _ = self.recurrent(embedded, valid)
        return hidden


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


class ConvolutionalReader(Reader):
    """See `ConvolutionalEncoderConfig`. Padding reads as zeros."""

    def __init__(self, inputs: int, filters: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.widths = widths
        self.convolutions = nn.ModuleList(nn.Conv1d(inputs, filters, width) for width in widths)
        self.width = filters * len(widths)

    def forward(self, embedded: Tensor, valid: Tensor) -> Tensor:
        read = (embedded * valid[:, :, None]).transpose(1, 2)
        features = []
        for width, convolution in zip(self.widths, self.convolutions, strict=True):
            around = F.pad(read, ((width - 1) // 2, width // 2))
            features.append(torch.relu(convolution(around)))
        return torch.cat(features, 1).transpose(1, 2)


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
            vocabulary,
            self.d_model,
            self.build_reader(self.d_model + features),
            dropout=0.0,  # the reader has its own
            token_dropout=self.token_dropout,
        )

    def build_reader(self, inputs: int) -> Reader:
        """The reader alone, of vectors of this width."""
        return TransformerReader(self, inputs)


class TransformerReader(Reader):
    """See `TransformerEncoderConfig`. Vectors of another width than `d_model` are projected."""

    def __init__(self, config: TransformerEncoderConfig, inputs: int) -> None:
        super().__init__()
        self.project = (
            nn.Identity() if inputs == config.d_model else nn.Linear(inputs, config.d_model)
        )
        self.stack = build_stack(config, config.layers, None, bidirectional=True, cross=False)
        self.width = config.d_model
        if config.norm_placement == "pre":
            self.stack.scale_branches()

    def forward(self, embedded: Tensor, valid: Tensor) -> Tensor:
        positions = torch.arange(embedded.shape[1], device=embedded.device)
        mask = prepare(Padding(valid), len(embedded), positions[:1], positions)
        return self.stack(self.project(embedded) * self.stack.scale, positions, mask)


class BagEncoderConfig(_ReaderConfig):
    """Embeddings alone; with mean pooling, a bag of words (fastText, Joulin et al. 2017)."""

    kind: Literal["bag"] = "bag"

    def build_reader(self, inputs: int) -> Reader:
        return BagReader(inputs)


class BagReader(Reader):
    """See `BagEncoderConfig`."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.width = inputs

    def forward(self, embedded: Tensor, valid: Tensor) -> Tensor:
        return embedded


TextEncoderConfig = Annotated[
    RecurrentEncoderConfig
    | ConvolutionalEncoderConfig
    | TransformerEncoderConfig
    | BagEncoderConfig,
    Field(discriminator="kind"),
]
