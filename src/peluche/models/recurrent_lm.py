"""The recurrent language model (Mikolov et al. 2010; Zaremba et al. 2014), assembled from parts."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from peluche.config import Config
from peluche.models.language_model import LanguageModel
from peluche.nn.dropout import Dropout
from peluche.nn.recurrent import Carried, CellKind, Recurrent
from peluche.nn.state import RecurrentState
from peluche.nn.trace import record, scope


class RecurrentLMConfig(Config):
    """Sizes and parts of a recurrent language model."""

    kind: Literal["recurrent_lm"] = "recurrent_lm"
    cell: CellKind = "lstm"
    embedding: int = Field(256, gt=0, description="width of embeddings, and of the output")
    hidden: int = Field(256, gt=0, description="width of the state")
    layers: int = Field(1, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    tie_embeddings: bool = True

    def build(self, vocabulary: int) -> RecurrentLM:
        """A freshly initialised model for a vocabulary of this size."""
        return RecurrentLM(self, vocabulary)


class RecurrentLM(LanguageModel):
    """Reads a text token by token into a state, and says from it what comes next."""

    def __init__(self, config: RecurrentLMConfig, vocabulary: int) -> None:
        super().__init__()
        self.config, self.vocabulary = config, vocabulary
        embedding, hidden = config.embedding, config.hidden
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.recurrent = Recurrent(
            config.cell, embedding, hidden, layers=config.layers, dropout=config.dropout
        )
        self.readout = nn.Linear(hidden, embedding) if hidden != embedding else nn.Identity()
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(embedding, vocabulary, bias=False)
        if config.tie_embeddings:
            self.head.weight = self.embedding.weight
        self.start_weights(embedding**-0.5, tied=config.tie_embeddings)

    def start_state(self, rows: int, capacity: int) -> RecurrentState:
        return RecurrentState(**self.recurrent.start(rows, self.head.weight).named())

    def hidden(
        self,
        tokens: Int[Tensor, "rows length"],
        *,
        positions: Int[Tensor, "length"] | None = None,
        document_ids: Int[Tensor, "rows length"] | None = None,
        state: RecurrentState | None = None,
    ) -> Float[Tensor, "rows length embedding"]:
        """See `LanguageModel.hidden`. With a state, all tokens are of one document."""
        embedded = self.dropout(self.embedding(tokens) * self.config.embedding**0.5)
        record("embedding", embedded)
        with scope("recurrent"):
            if state is not None:
                assert positions is not None, "with a state, say where the tokens stand"
                read = self._remembering(embedded, positions, state)
            elif document_ids is None or bool((document_ids == document_ids[:, :1]).all()):
                read, _ = self.recurrent(embedded)
            else:
                read = self._apart(embedded, document_ids)
        return self.readout(self.dropout(read))

    def _remembering(self, embedded: Tensor, positions: Tensor, state: RecurrentState) -> Tensor:
        outputs = []
        for place, piece in enumerate(embedded.split(1, 1)):
            output, after = self.recurrent(piece, None, Carried(**state.view()))
            state.write(positions[place : place + 1], **after.named())
            outputs.append(output)
        return torch.cat(outputs, 1)

    def _apart(self, embedded: Tensor, document_ids: Tensor) -> Tensor:
        """Read every document from its own start: each becomes a row of its own."""
        rows, length = document_ids.shape
        first = torch.ones_like(document_ids, dtype=torch.bool)
        first[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
        starts = first.flatten().nonzero()[:, 0]
        which = first.flatten().cumsum(0) - 1
        place = torch.arange(rows * length, device=which.device) - starts[which]
        lengths = torch.bincount(which)
        longest = int(lengths.max())
        apart = embedded.new_zeros(len(starts), longest, embedded.shape[-1])
        apart[which, place] = embedded.flatten(0, 1)
        valid = torch.arange(longest, device=which.device) < lengths[:, None]
        outputs, _ = self.recurrent(apart, valid)
        return outputs[which, place].unflatten(0, (rows, length))
