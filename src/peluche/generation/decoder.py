"""What a search needs of a model, and how a model is made to give it."""

from __future__ import annotations

from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from peluche.models.translation import SourceMemory, TranslationModel


class Decoding(Protocol):
    """A batch being decoded: `sentences * beams` rows, the beams of a sentence together."""

    def step(self, tokens: Int[Tensor, "rows"]) -> Float[Tensor, "rows vocabulary"]:
        """Read one token per row; logits of the next.

        The first token is the same for all beams of a sentence. The result may be overwritten by
        the caller and by the next step, and may have more columns than the vocabulary has tokens;
        those hold −∞.
        """

    def select(self, parents: Int[Tensor, "sentences beams"]) -> None:
        """`parents[s, b]`: which beam of sentence s continues as beam b."""

    def keep(self, sentences: Int[Tensor, "kept"]) -> None:
        """Go on with these sentences only."""


class Decoder(Protocol):
    """Starts decodings.

    Attributes:
        parallel: whether several threads may decode at the same time.
    """

    parallel: bool

    def start(
        self,
        source: Int[Tensor, "sentences source"],
        valid: Bool[Tensor, "sentences source"],
        beams: int,
        capacity: int,
    ) -> Decoding:
        """Read the source sentences; at most `capacity` tokens per row will follow."""


class ModelDecoder:
    """Decodes with a model as it is: the reference of faster decoders.

    It reads the weights of the moment; the model has to be in evaluation mode.
    """

    parallel = False

    def __init__(self, model: TranslationModel) -> None:
        self.model = model

    def start(
        self,
        source: Int[Tensor, "sentences source"],
        valid: Bool[Tensor, "sentences source"],
        beams: int,
        capacity: int,
    ) -> ModelDecoding:
        device = self.model.head.weight.device
        memory = self.model.encode(source.to(device), valid.to(device))
        return ModelDecoding(self.model, self.model.project_memory(memory), beams, capacity)


class ModelDecoding:
    """See `Decoding`. Every beam has a copy of its past."""

    def __init__(
        self, model: TranslationModel, memory: SourceMemory, beams: int, capacity: int
    ) -> None:
        self.model, self.memory = model, memory
        self.beams = beams
        self.state = model.start_state(memory, beams, capacity)
        device = model.head.weight.device
        self.position = torch.zeros(1, dtype=torch.int64, device=device)

    def step(self, tokens: Int[Tensor, "rows"]) -> Float[Tensor, "rows vocabulary"]:
        hidden = self.model.hidden(
            tokens.to(self.position.device)[:, None],
            condition=self.memory,
            positions=self.position,
            state=self.state,
        )
        self.position = self.position + 1
        return self.model.logits(hidden[:, 0]).float().cpu()

    def select(self, parents: Int[Tensor, "sentences beams"]) -> None:
        first = torch.arange(len(parents))[:, None] * self.beams
        self.state.select((first + parents).flatten().to(self.position.device))

    def keep(self, sentences: Int[Tensor, "kept"]) -> None:
        rows = sentences.to(self.position.device)
        beams = torch.arange(self.beams, device=rows.device)
        self.state.select((rows[:, None] * self.beams + beams).flatten())
        self.memory = self.memory.select(rows)
