"""Encoders of text: tokens in, one vector per token out. Classifiers, taggers, parsers read them.

Recurrent, convolutional, Transformer, and a bag of words to compare them with. All share one
surface: `forward(tokens, valid, segments)`, `width` and `directions`.
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


class TextEncoder(nn.Module):
    """The surface that all encoders share.

    Attributes:
        embedding: of tokens; `[PAD]` is number 0.
        width: of what is given per token.
        directions: 2 if the second half of it was read backwards.
    """

    embedding: nn.Embedding
    width: int
    directions: int = 1

    def forward(
        self,
        tokens: Int[Tensor, "batch length"],
        valid: Bool[Tensor, "batch length"],
        segments: Int[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "batch length width"]:
        """Vectors of the tokens; what stands at padding has no meaning.

        `segments` tells the texts of a pair apart (0 and 1).
        """
        raise NotImplementedError


class _Embedded(nn.Module):
    """Embeddings of tokens and segments, with whole tokens and single features dropped."""

    def __init__(self, vocabulary: int, width: int, dropout: float, token_dropout: float) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.segments = nn.Embedding(SEGMENTS, width)
        self.dropout = Dropout(dropout)
        self.token_dropout = token_dropout
        nn.init.normal_(self.tokens.weight, std=width**-0.5)
        nn.init.zeros_(self.segments.weight)

    def forward(self, tokens: Tensor, segments: Tensor | None) -> Tensor:
        hidden = self.tokens(tokens)
        if segments is not None:
            hidden = hidden + self.segments(segments)
        if self.training and self.token_dropout:
            # Gal & Ghahramani (2016) drop words; the others are not scaled up.
            kept = torch.rand(tokens.shape, device=tokens.device) >= self.token_dropout
            hidden = hidden * kept[:, :, None]
        return self.dropout(hidden)


class _EmbeddingConfig(Config):
    embedding: int = Field(128, gt=0, description="width of the embeddings")
    dropout: float = Field(0.3, ge=0, lt=1, description="of embeddings, and between layers")
    token_dropout: float = Field(0.0, ge=0, lt=1, description="of whole tokens")
    pretrained: Path | None = Field(
        None, description="word vectors to start from: a run, or a file in word2vec's formats"
    )


class RecurrentEncoderConfig(_EmbeddingConfig):
    """RNN, GRU or LSTM layers over embeddings."""

    kind: Literal["recurrent"] = "recurrent"
    cell: CellKind = "lstm"
    hidden: int = Field(128, gt=0, description="width per direction")
    layers: int = Field(1, gt=0)
    bidirectional: bool = True

    def build(self, vocabulary: int) -> TextEncoder:
        return RecurrentEncoder(self, vocabulary)


class RecurrentEncoder(TextEncoder):
    """See `RecurrentEncoderConfig`."""

    def __init__(self, config: RecurrentEncoderConfig, vocabulary: int) -> None:
        super().__init__()
        self.embedded = _Embedded(
            vocabulary, config.embedding, config.dropout, config.token_dropout
        )
        self.recurrent = Recurrent(
            config.cell,
            config.embedding,
            config.hidden,
            layers=config.layers,
            bidirectional=config.bidirectional,
            dropout=config.dropout,
        )
        self.embedding = self.embedded.tokens
        self.width, self.directions = self.recurrent.outputs, self.recurrent.directions

    def forward(self, tokens: Tensor, valid: Tensor, segments: Tensor | None = None) -> Tensor:
        hidden, _ = self.recurrent(self.embedded(tokens, segments), valid)
        return hidden


class ConvolutionalEncoderConfig(_EmbeddingConfig):
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

    def build(self, vocabulary: int) -> TextEncoder:
        return ConvolutionalEncoder(self, vocabulary)


class ConvolutionalEncoder(TextEncoder):
    """See `ConvolutionalEncoderConfig`. Padding reads as zeros."""

    def __init__(self, config: ConvolutionalEncoderConfig, vocabulary: int) -> None:
        super().__init__()
        self.embedded = _Embedded(
            vocabulary, config.embedding, config.dropout, config.token_dropout
        )
        self.widths = config.widths
        self.convolutions = nn.ModuleList(
            nn.Conv1d(config.embedding, config.filters, width) for width in config.widths
        )
        self.embedding = self.embedded.tokens
        self.width = config.filters * len(config.widths)

    def forward(self, tokens: Tensor, valid: Tensor, segments: Tensor | None = None) -> Tensor:
        read = self.embedded(tokens, segments) * valid[:, :, None]
        read = read.transpose(1, 2)
        features = []
        for width, convolution in zip(self.widths, self.convolutions, strict=True):
            around = F.pad(read, ((width - 1) // 2, width // 2))
            features.append(torch.relu(convolution(around)))
        return torch.cat(features, 1).transpose(1, 2)


class TransformerEncoderConfig(TransformerConfig):
    """A Transformer encoder (Vaswani et al. 2017, §3.1)."""

    kind: Literal["transformer"] = "transformer"
    pretrained: Path | None = Field(
        None, description="word vectors to start from: a run, or a file in word2vec's formats"
    )

    def build(self, vocabulary: int) -> TextEncoder:
        return TransformerEncoder(self, vocabulary)


class TransformerEncoder(TextEncoder):
    """See `TransformerEncoderConfig`."""

    def __init__(self, config: TransformerEncoderConfig, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, config.d_model)
        nn.init.normal_(self.embedding.weight, std=config.d_model**-0.5)
        self.segments = nn.Embedding(SEGMENTS, config.d_model)
        nn.init.zeros_(self.segments.weight)
        self.stack = build_stack(
            config, config.layers, self.embedding, bidirectional=True, cross=False
        )
        self.width = config.d_model
        if config.norm_placement == "pre":
            self.stack.scale_branches()

    def forward(self, tokens: Tensor, valid: Tensor, segments: Tensor | None = None) -> Tensor:
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        mask = prepare(Padding(valid), tokens.shape[0], positions[:1], positions)
        added = None if segments is None else self.segments(segments)
        return self.stack(tokens, positions, mask, added=added)


class BagEncoderConfig(_EmbeddingConfig):
    """Embeddings alone; with mean pooling, a bag of words (fastText, Joulin et al. 2017)."""

    kind: Literal["bag"] = "bag"

    def build(self, vocabulary: int) -> TextEncoder:
        return BagEncoder(self, vocabulary)


class BagEncoder(TextEncoder):
    """See `BagEncoderConfig`."""

    def __init__(self, config: BagEncoderConfig, vocabulary: int) -> None:
        super().__init__()
        self.embedded = _Embedded(
            vocabulary, config.embedding, config.dropout, config.token_dropout
        )
        self.embedding = self.embedded.tokens
        self.width = config.embedding

    def forward(self, tokens: Tensor, valid: Tensor, segments: Tensor | None = None) -> Tensor:
        return self.embedded(tokens, segments)


TextEncoderConfig = Annotated[
    RecurrentEncoderConfig
    | ConvolutionalEncoderConfig
    | TransformerEncoderConfig
    | BagEncoderConfig,
    Field(discriminator="kind"),
]
