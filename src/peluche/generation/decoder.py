"""What a search needs of a model, and how a model is made to give it."""

from __future__ import annotations

from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from peluche.models.encoder_decoder import EncoderDecoder
from peluche.nn.masks import PreparedMask
from peluche.nn.stack import Memory
from peluche.nn.state import StaticState


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

    def __init__(self, model: EncoderDecoder) -> None:
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

    def __init__(self, model: EncoderDecoder, memory: Memory, beams: int, capacity: int) -> None:
        config = model.config
        self.model, self.memory = model, memory
        self.beams = beams
        self.state = StaticState(
            config.decoder_layers or config.layers,
            memory.hidden.shape[0] * beams,
            config.kv_heads or config.heads,
            config.d_model // config.heads,
            capacity,
            dtype=memory.hidden.dtype,
            device=memory.hidden.device,
        )
        self.position = torch.zeros(1, dtype=torch.int64, device=memory.hidden.device)

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
        hidden, valid, mask, pairs = self.memory
        assert pairs is not None, "the memory was projected at the start"
        self.memory = Memory(
            hidden[rows],
            valid[rows],
            None if mask is None else _keep_mask(mask, rows),
            tuple((key[rows], value[rows]) for key, value in pairs),
        )


def _keep_mask(mask: PreparedMask, rows: Tensor) -> PreparedMask:
    assert mask.dense is not None, "a padding mask is dense"
    return PreparedMask(mask.dense[rows], None if mask.empty is None else mask.empty[rows])
