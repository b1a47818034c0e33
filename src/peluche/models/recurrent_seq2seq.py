"""Recurrent sequence to sequence, with and without attention, assembled from parts."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from peluche.config import Config
from peluche.models.translation import TranslationModel
from peluche.nn.dropout import Dropout
from peluche.nn.masks import Padding, PreparedMask, prepare
from peluche.nn.recurrent import Carried, CellKind, Recurrent
from peluche.nn.source_attention import ScoreKind, build_source_attention
from peluche.nn.state import RecurrentState
from peluche.nn.trace import record, scope

LookKind = Literal["none", "fixed", "bahdanau", "luong"]


class RecurrentSeq2seqConfig(Config):
    """Sizes and parts of a recurrent encoder and decoder.

    What the decoder sees of the source, besides starting from the encoder's last state: nothing
    ("none", Sutskever et al. 2014), that state again at every step ("fixed", Cho et al. 2014), or
    by attention what it looks for before a step ("bahdanau", 2015) or after it ("luong", 2015).
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

    @property
    def feeds_back(self) -> bool:
        """Whether a step needs what the step before gave, beyond what the cell carries."""
        return self.attention == "bahdanau" or (self.attention == "luong" and self.input_feeding)

    def build(self, vocabulary: int) -> RecurrentSeq2seq:
        """A freshly initialised model for a joint vocabulary of this size."""
        return RecurrentSeq2seq(self, vocabulary)


class ReadSource(NamedTuple):
    """What a recurrent encoder hands over.

    Attributes:
        hidden: (B, S, memory width), a vector per token; zeros at padding.
        mask: which tokens are real, prepared for attention.
        keys: (B, S, ·), what attention compares queries with; None without attention.
        start: (decoder layers, B, hidden), what the decoder starts from.
        cell: the same for an LSTM's memory; None for other cells.
        summary: (B, 1, hidden), the last of `start`.
    """

    hidden: Tensor
    mask: PreparedMask | None
    keys: Tensor | None
    start: Tensor
    cell: Tensor | None
    summary: Tensor

    def select(self, rows: Tensor) -> ReadSource:
        """These rows only."""
        return ReadSource(
            self.hidden[rows],
            None if self.mask is None else self.mask.select(rows),
            None if self.keys is None else self.keys[rows],
            self.start[:, rows],
            None if self.cell is None else self.cell[:, rows],
            self.summary[rows],
        )


class RecurrentSeq2seq(TranslationModel):
    """Reads a source sentence word by word, writes the target word by word."""

    def __init__(self, config: RecurrentSeq2seqConfig, vocabulary: int) -> None:
        super().__init__()
        self.config, self.vocabulary = config, vocabulary
        embedding, hidden, seen = config.embedding, config.hidden, config.memory_width
        self.layers = config.decoder_layers or config.layers
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
        states = self.layers * (2 if config.cell == "lstm" else 1)
        self.bridge = nn.Linear(seen, states * hidden)
        kind = config.attention
        self.attention = None
        if kind in ("bahdanau", "luong"):
            score = "concat" if kind == "bahdanau" else config.score or "general"
            self.attention = build_source_attention(score, hidden, seen, hidden)
        context = {"none": 0, "fixed": hidden}.get(kind, seen)
        fed = {"bahdanau": seen, "fixed": hidden}.get(kind, embedding * config.feeds_back)
        self.decoder = Recurrent(
            config.cell, embedding + fed, hidden, layers=self.layers, dropout=config.dropout
        )
        reread = embedding if kind in ("bahdanau", "fixed") else 0
        self.readout = nn.Linear(hidden + context + reread, embedding)
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(embedding, vocabulary, bias=False)
        if config.tie_embeddings != "none":
            self.head.weight = self.target.weight
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot-uniform matrices; embeddings N(0, 1/width), scaled back up where they are read."""
        for module in self.modules():
            if isinstance(module, nn.Linear) and module is not self.head:
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=self.config.embedding**-0.5)
        if self.config.tie_embeddings == "none":
            nn.init.normal_(self.head.weight, std=self.config.embedding**-0.5)

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
        return ReadSource(
            hidden,
            prepare(Padding(valid), source.shape[0], positions[:1], positions),
            None if self.attention is None else self.attention.keys(hidden),
            start[: self.layers],
            start[self.layers :] if self.config.cell == "lstm" else None,
            start[self.layers - 1][:, None],
        )

    def start_state(self, memory: ReadSource, beams: int, capacity: int) -> RecurrentState:
        """A state for `beams` rows a sentence."""
        return RecurrentState(
            **{
                name: tensor.repeat_interleave(beams, -2)
                for name, tensor in self._start(memory).items()
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
        """What the head reads after each of `tokens`; see `TranslationModel.hidden`.

        All tokens are read in one go unless a step needs the one before or a state is kept.
        """
        embedded = self._embed(self.target, tokens)
        past = self._start(condition) if state is None else state.view()
        one_by_one = self.config.feeds_back or state is not None
        pieces = embedded.split(1, 1) if one_by_one else [embedded]
        said = []
        for number, piece in enumerate(pieces):
            with scope(f"decoder.{number}" if len(pieces) > 1 else "decoder"):
                output, past = self._advance(piece, condition, past)
            said.append(output)
            if state is not None and positions is not None:
                state.write(positions[number : number + 1], **past)
        return torch.cat(said, 1)

    def _embed(self, embedding: nn.Embedding, tokens: Tensor) -> Tensor:
        return self.dropout(embedding(tokens) * self.config.embedding**0.5)

    def _start(self, memory: ReadSource) -> dict[str, Tensor]:
        past = {"hidden": memory.start}
        if memory.cell is not None:
            past["cell"] = memory.cell
        if self.config.attention == "luong" and self.config.feeds_back:
            past["fed"] = memory.hidden.new_zeros(len(memory.hidden), self.config.embedding)
        return past

    def _advance(
        self, embedded: Tensor, memory: ReadSource, past: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Read (rows, T, embedding); T is one if the model feeds back."""
        kind, context = self.config.attention, None
        if kind == "bahdanau":
            context = self._look(past["hidden"][-1][:, None], memory)
        elif kind == "fixed":
            shared = memory.summary.repeat_interleave(len(embedded) // len(memory.summary), 0)
            context = shared.expand(-1, embedded.shape[1], -1)
        fed = past["fed"][:, None] if "fed" in past else context
        output, carried = self.decoder(
            _joined(embedded, fed), None, Carried(past["hidden"], past.get("cell"))
        )
        if kind == "luong":
            context = self._look(output, memory)
        reread = embedded if kind in ("bahdanau", "fixed") else None
        said = torch.tanh(self.readout(_joined(output, context, reread)))
        record("output", said)
        said = self.dropout(said)
        kept = {name: value for name, value in carried._asdict().items() if value is not None}
        return said, kept | ({"fed": said[:, -1]} if "fed" in past else {})

    def _look(self, query: Tensor, memory: ReadSource) -> Tensor:
        """What each query (rows, T, hidden) sees; consecutive rows may share a memory row."""
        assert self.attention is not None
        rows, length, width = query.shape
        query = query.reshape(len(memory.hidden), -1, width)
        with scope("attention"):
            seen = self.attention(query, memory.keys, memory.hidden, memory.mask)
        return seen.reshape(rows, length, -1)


def _joined(*parts: Tensor | None) -> Tensor:
    present = [part for part in parts if part is not None]
    return present[0] if len(present) == 1 else torch.cat(present, -1)
