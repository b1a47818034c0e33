"""The state space language model (Dao & Gu 2024, Mamba-2), assembled from parts."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from peluche.config import Config
from peluche.models.language_model import LanguageModel
from peluche.nn.dropout import Dropout
from peluche.nn.norms import build_norm
from peluche.nn.state import RecurrentState
from peluche.nn.state_space import Remembered, StateSpace, StateSpaceConfig
from peluche.nn.trace import record, scope

EMBEDDING_STD = 0.02


class StateSpaceLMConfig(Config):
    """Sizes and parts of a state space language model."""

    kind: Literal["state_space_lm"] = "state_space_lm"
    d_model: int = Field(256, gt=0)
    layers: int = Field(6, gt=0)
    mixer: StateSpaceConfig = StateSpaceConfig()
    norm_epsilon: float = Field(1e-5, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    tie_embeddings: bool = True

    def build(self, vocabulary: int) -> StateSpaceLM:
        """A freshly initialised model for a vocabulary of this size."""
        return StateSpaceLM(self, vocabulary)


class StateSpaceBlock(nn.Module):
    """x + dropout(mixer(norm(x)))."""

    def __init__(self, config: StateSpaceLMConfig) -> None:
        super().__init__()
        self.norm = build_norm("rmsnorm", config.d_model, epsilon=config.norm_epsilon)
        self.mixer = StateSpace(config.mixer, config.d_model, config.norm_epsilon)
        self.dropout = Dropout(config.dropout)

    def forward(
        self, hidden: Tensor, documents: Tensor, carried: Remembered
    ) -> tuple[Tensor, Remembered]:
        change, carried = self.mixer(self.norm(hidden), documents, carried)
        return self.dropout.add(change, hidden), carried


class StateSpaceLM(LanguageModel):
    """Reads a text into matrices of fixed size, and says from them what comes next."""

    def __init__(self, config: StateSpaceLMConfig, vocabulary: int) -> None:
        super().__init__()
        self.config, self.vocabulary = config, vocabulary
        self.embedding = nn.Embedding(vocabulary, config.d_model)
        self.blocks = nn.ModuleList(StateSpaceBlock(config) for _ in range(config.layers))
        self.norm = build_norm("rmsnorm", config.d_model, epsilon=config.norm_epsilon)
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(config.d_model, vocabulary, bias=False)
        if config.tie_embeddings:
            self.head.weight = self.embedding.weight
        self.start_weights(EMBEDDING_STD, tied=config.tie_embeddings)
        with torch.no_grad():
            for block in self._blocks():
                block.mixer.out.weight.div_(config.layers**0.5)

    def _blocks(self) -> list[StateSpaceBlock]:
        return [block for block in self.blocks if isinstance(block, StateSpaceBlock)]

    def start_state(self, rows: int, capacity: int) -> RecurrentState:
        carried = [block.mixer.start(rows, self.head.weight) for block in self._blocks()]
        return RecurrentState(**_named(carried))

    def hidden(
        self,
        tokens: Int[Tensor, "rows length"],
        *,
        positions: Int[Tensor, "length"] | None = None,
        document_ids: Int[Tensor, "rows length"] | None = None,
        state: RecurrentState | None = None,
    ) -> Float[Tensor, "rows length d_model"]:
        """See `LanguageModel.hidden`. With a state, all tokens are of one document."""
        hidden = self.dropout(self.embedding(tokens))
        record("embedding", hidden)
        if state is None:
            ids = torch.zeros_like(tokens) if document_ids is None else document_ids
            ids = ids - ids[:, :1]
            carried = [block.mixer.start(len(tokens), hidden) for block in self._blocks()]
            return self.norm(self._read(hidden, ids, carried)[0])
        assert positions is not None, "with a state, say where the tokens stand"
        outputs = []
        for place, piece in enumerate(hidden.split(1, 1)):
            read, carried = self._read(piece, torch.zeros_like(tokens[:, :1]), _carried(state))
            state.write(positions[place : place + 1], **_named(carried))
            outputs.append(read)
        return self.norm(torch.cat(outputs, 1))

    def _read(
        self, hidden: Tensor, documents: Tensor, carried: list[Remembered]
    ) -> tuple[Tensor, list[Remembered]]:
        after = []
        for layer, (block, before) in enumerate(zip(self._blocks(), carried, strict=True)):
            with scope(str(layer)):
                hidden, remembered = block(hidden, documents, before)
                record("output", hidden)
            after.append(remembered)
        return hidden, after


def _named(carried: list[Remembered]) -> dict[str, Tensor]:
    return {
        f"{name}{layer}": tensor
        for layer, remembered in enumerate(carried)
        for name, tensor in remembered._asdict().items()
    }


def _carried(state: RecurrentState) -> list[Remembered]:
    view = state.view()
    layers = len(view) // len(Remembered._fields)
    return [
        Remembered(*(view[f"{name}{layer}"] for name in Remembered._fields))
        for layer in range(layers)
    ]
