"""A recurrent decoder: what it starts from, what it sees of the source, what it carries along."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from peluche.nn.dropout import Dropout
from peluche.nn.masks import PreparedMask
from peluche.nn.recurrent import Carried, Recurrent
from peluche.nn.source_attention import AdditiveAttention, ProductAttention
from peluche.nn.state import RecurrentState
from peluche.nn.trace import scope

LookKind = Literal["none", "fixed", "bahdanau", "luong"]
Past = dict[str, Tensor]


class ReadSource(NamedTuple):
    """What a recurrent encoder hands over.

    Attributes:
        hidden: (B, S, memory), a vector per token; zeros at padding.
        mask: which tokens are real, prepared for attention.
        keys: (B, S, ·), what attention compares queries with; None without attention.
        start: (layers, B, hidden), what the decoder starts from.
        cell: the same for an LSTM's memory; None for other cells.
    """

    hidden: Tensor
    mask: PreparedMask | None
    keys: Tensor | None
    start: Tensor
    cell: Tensor | None

    def select(self, rows: Tensor) -> ReadSource:
        """These rows only."""
        return ReadSource(
            self.hidden[rows],
            None if self.mask is None else self.mask.select(rows),
            None if self.keys is None else self.keys[rows],
            self.start[:, rows],
            None if self.cell is None else self.cell[:, rows],
        )


class RecurrentDecoder(nn.Module):
    """Recurrent layers that read what was written, look at a source, and say what comes next.

    It sees of the source, besides its start: nothing ("none", Sutskever et al. 2014); the start
    again at every step ("fixed", Cho et al. 2014); by attention what it looks for before a step
    ("bahdanau", Bahdanau et al. 2015, appendix A.2.2, with tanh in place of maxout) or after it
    ("luong", Luong et al. 2015, eq. 5, and §3.3 with `input_feeding`).

    Args:
        embedding: width of what is read and of what is said.
        hidden: width of the state.
        memory: width of what attention looks at.
        recurrent: makes the layers, given the width of what they read.
        attention: of "bahdanau" and "luong".
    """

    def __init__(
        self,
        look: LookKind,
        *,
        embedding: int,
        hidden: int,
        memory: int,
        recurrent: Callable[[int], Recurrent],
        attention: AdditiveAttention | ProductAttention | None,
        input_feeding: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.look: LookKind = look
        self.attention = attention
        self.embedding = embedding
        self.feeds_output = look == "luong" and input_feeding
        fed = {"none": 0, "fixed": hidden, "bahdanau": memory}.get(look, embedding * input_feeding)
        self.recurrent = recurrent(embedding + fed)
        seen = {"none": 0, "fixed": hidden}.get(look, memory)
        self.rereads = look in ("fixed", "bahdanau")
        self.readout = nn.Linear(hidden + seen + embedding * self.rereads, embedding)
        self.dropout = Dropout(dropout)

    @property
    def sequential(self) -> bool:
        """Whether a step needs what the step before gave, beyond what the cell carries."""
        return self.look == "bahdanau" or self.feeds_output

    def start(self, memory: ReadSource) -> Past:
        """What is carried before anything is read, (…, B, width) each."""
        past = {"hidden": memory.start}
        if memory.cell is not None:
            past["cell"] = memory.cell
        if self.feeds_output:
            past["fed"] = memory.hidden.new_zeros(len(memory.hidden), self.embedding)
        return past

    def forward(
        self,
        embedded: Float[Tensor, "rows length embedding"],
        memory: ReadSource,
        positions: Int[Tensor, "length"] | None = None,
        state: RecurrentState | None = None,
    ) -> Float[Tensor, "rows length embedding"]:
        """What is said after each token.

        All are read in one go unless a step needs the one before, or a state remembers each. With
        a state, `memory` may have fewer rows, each shared by consecutive rows of `embedded`.
        """
        past = self.start(memory) if state is None else state.view()
        pieces = embedded.split(1, 1) if self.sequential or state is not None else [embedded]
        found = []
        for number, piece in enumerate(pieces):
            with scope(str(number)) if len(pieces) > 1 else nullcontext():
                features, past = self._advance(piece, memory, past)
            found.append(features)
            if state is not None and positions is not None:
                state.write(positions[number : number + 1], **past)
        features = torch.cat(found, 1)
        return features if self.feeds_output else self._say(features)

    def _advance(self, embedded: Tensor, memory: ReadSource, past: Past) -> tuple[Tensor, Past]:
        """Read (rows, T, embedding), T one if sequential; gives features for the readout.

        Where the output is fed back, they are read out already, since the next step needs them.
        """
        context = None
        if self.look == "bahdanau":
            context = self._seen(past["hidden"][-1][:, None], memory)
        elif self.look == "fixed":
            summary = memory.start[-1][:, None]
            shared = summary.repeat_interleave(len(embedded) // len(summary), 0)
            context = shared.expand(-1, embedded.shape[1], -1)
        fed = past["fed"][:, None] if self.feeds_output else context
        before = Carried(past["hidden"], past.get("cell"))
        output, after = self.recurrent(_joined(embedded, fed), None, before)
        if self.look == "luong":
            context = self._seen(output, memory)
        features = _joined(output, context, embedded if self.rereads else None)
        kept = after.named()
        if self.feeds_output:
            features = self._say(features)
            kept["fed"] = features[:, -1]
        return features, kept

    def _say(self, features: Tensor) -> Tensor:
        return self.dropout(torch.tanh(self.readout(features)))

    def _seen(self, query: Tensor, memory: ReadSource) -> Tensor:
        """What each query (rows, T, hidden) sees; consecutive rows may share a memory row."""
        assert self.attention is not None, "these decoders have attention"
        rows, length, width = query.shape
        query = query.reshape(len(memory.hidden), -1, width)
        with scope("attention"):
            seen = self.attention(query, memory.keys, memory.hidden, memory.mask)
        return seen.reshape(rows, length, -1)


def _joined(*parts: Tensor | None) -> Tensor:
    present = [part for part in parts if part is not None]
    return present[0] if len(present) == 1 else torch.cat(present, -1)
