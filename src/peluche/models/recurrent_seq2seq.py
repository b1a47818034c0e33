"""Recurrent sequence to sequence, with and without attention, assembled from parts."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from peluche.config import Config
from peluche.models.translation import TranslationModel
from peluche.nn.dropout import Dropout
from peluche.nn.masks import Padding, prepare
from peluche.nn.recurrent import CellKind, Recurrent
from peluche.nn.recurrent_decoder import LookKind, ReadSource, RecurrentDecoder
from peluche.nn.source_attention import ScoreKind, build_source_attention
from peluche.nn.state import RecurrentState
from peluche.nn.trace import scope


class RecurrentSeq2seqConfig(Config):
    """Sizes and parts of a recurrent encoder and decoder.

    `attention` is what the decoder sees of the source; see `RecurrentDecoder`.
    """

    kind: Literal["recurrent_seq2seq"] = "recurrent_seq2seq"
    cell: CellKind = "gru"
    embedding: int = Field(256, gt=0, description="width of embeddings, and of the output")
    hidden: int = Field(256, gt=0, description="width of the decoder")
    encoder_hidden: int | None = Field(
        None, gt=0, description="width of the encoder per direction; all directions: `hidden`"
    )
    layers: int = Field(1, gt=0, description="encoder layers, and decoder layers unless given")
    decoder_layers: int | None = Field(None, gt=0)
    bidirectional: bool = Field(True, description="whether the encoder reads both ways")
    attention: LookKind = "bahdanau"
    score: ScoreKind | None = Field(None, description="of luong attention; general unless given")
    input_feeding: bool = Field(True, description="luong: what was seen enters the next step")
    dropout: float = Field(0.2, ge=0, lt=1)
    tie_embeddings: Literal["all", "decoder", "none"] = Field(
        "all", description="what the output projection shares: both embeddings, the decoder's, none"
    )

    @model_validator(mode="after")
    def _parts_fit(self) -> RecurrentSeq2seqConfig:
        if self.encoder_hidden is None and self.bidirectional and self.hidden % 2:
            raise ValueError(
                f"hidden {self.hidden} is odd and cannot be halved for two directions; nearest "
                f"that fits: {self.hidden + 1}, or give encoder_hidden"
            )
        if self.score is not None and self.attention != "luong":
            raise ValueError(f"attention '{self.attention}' has no choice of score; luong has")
        if self.score == "dot" and self.memory_width != self.hidden:
            raise ValueError(
                f"score 'dot' compares hidden {self.hidden} with an encoder of width "
                f"{self.memory_width}; make them equal, or use 'general'"
            )
        return self

    @property
    def memory_width(self) -> int:
        """Width of what the encoder gives for a token."""
        directions = 2 if self.bidirectional else 1
        return directions * (self.encoder_hidden or self.hidden // directions)

    def build(self, vocabulary: int) -> RecurrentSeq2seq:
        """A freshly initialised model for a joint vocabulary of this size."""
        return RecurrentSeq2seq(self, vocabulary)


class RecurrentSeq2seq(TranslationModel):
    """Reads a source sentence word by word, writes the target word by word."""

    def __init__(self, config: RecurrentSeq2seqConfig, vocabulary: int) -> None:
        super().__init__()
        self.config, self.vocabulary = config, vocabulary
        embedding, hidden, seen = config.embedding, config.hidden, config.memory_width
        self.target = nn.Embedding(vocabulary, embedding)
        shared = config.tie_embeddings == "all"
        self.source = self.target if shared else nn.Embedding(vocabulary, embedding)
        self.encoder = Recurrent(
            config.cell,
            embedding,
            seen // (2 if config.bidirectional else 1),
            layers=config.layers,
            bidirectional=config.bidirectional,
            dropout=config.dropout,
        )
        layers, look = config.decoder_layers or config.layers, config.attention
        self.bridge = nn.Linear(seen, layers * hidden * (2 if config.cell == "lstm" else 1))
        attention = None
        if look in ("bahdanau", "luong"):
            score = "concat" if look == "bahdanau" else config.score or "general"
            attention = build_source_attention(score, hidden, seen, hidden)

        def make_layers(inputs: int) -> Recurrent:
            return Recurrent(config.cell, inputs, hidden, layers=layers, dropout=config.dropout)

        self.decoder = RecurrentDecoder(
            look,
            embedding=embedding,
            hidden=hidden,
            memory=seen,
            recurrent=make_layers,
            attention=attention,
            input_feeding=config.input_feeding,
            dropout=config.dropout,
        )
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(embedding, vocabulary, bias=False)
        if config.tie_embeddings != "none":
            self.head.weight = self.target.weight
        self.start_weights(embedding**-0.5, tied=config.tie_embeddings != "none")

    def encode(
        self, source: Int[Tensor, "batch source"], valid: Bool[Tensor, "batch source"]
    ) -> ReadSource:
        """Read the source sentences; `valid` is False at padding, and each row has a token."""
        with scope("encoder"):
            hidden, carried = self.encoder(self._embed(self.source, source), valid)
        # The last layer's last states: of the backward direction, after the first token.
        last = carried.hidden[-self.encoder.directions :].transpose(0, 1).flatten(1)
        start = torch.tanh(self.bridge(last)).unflatten(1, (-1, self.config.hidden))
        start = start.transpose(0, 1).contiguous()
        positions = torch.arange(source.shape[1], device=source.device)
        attention, layers = self.decoder.attention, self.decoder.recurrent.layers
        return ReadSource(
            hidden,
            prepare(Padding(valid), source.shape[0], positions[:1], positions),
            None if attention is None else attention.keys(hidden),
            start[:layers],
            start[layers:] if self.config.cell == "lstm" else None,
        )

    def start_state(self, memory: ReadSource, beams: int, capacity: int) -> RecurrentState:
        """A state for `beams` rows a sentence."""
        return RecurrentState(
            **{
                name: tensor.repeat_interleave(beams, -2)
                for name, tensor in self.decoder.start(memory).items()
            }
        )

    def hidden(
        self,
        tokens: Int[Tensor, "rows length"],
        *,
        condition: ReadSource,
        positions: Int[Tensor, "length"] | None = None,
        state: RecurrentState | None = None,
    ) -> Float[Tensor, "rows length embedding"]:
        """What the head reads after each of `tokens`; see `TranslationModel.hidden`."""
        with scope("decoder"):
            return self.decoder(self._embed(self.target, tokens), condition, positions, state)

    def _embed(self, embedding: nn.Embedding, tokens: Tensor) -> Tensor:
        return self.dropout(embedding(tokens) * self.config.embedding**0.5)
