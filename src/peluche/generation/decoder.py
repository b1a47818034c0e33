"""What a search needs of a model, and how a model is made to give it."""

from __future__ import annotations

from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from peluche.models.language_model import LanguageModel
from peluche.models.translation import SourceMemory, TranslationModel
from peluche.text.tokenizer import OWN, SpecialIds

Sources = Int[Tensor, "sentences source"]
Valid = Bool[Tensor, "sentences source"]


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
        special: ids that searches begin and end with, and never choose.
    """

    parallel: bool
    special: SpecialIds

    def start(self, source: Sources, valid: Valid, beams: int, capacity: int) -> Decoding:
        """Read the source sentences; at most `capacity` tokens per row will follow."""


class ModelDecoder:
    """Decodes with a model as it is: the reference of faster decoders.

    It reads the weights of the moment; the model has to be in evaluation mode.
    """

    parallel = False

    def __init__(self, model: TranslationModel, special: SpecialIds = OWN) -> None:
        self.model, self.special = model, special

    def start(self, source: Sources, valid: Valid, beams: int, capacity: int) -> ModelDecoding:
        device = self.model.head.weight.device
        memory = self.model.encode(source.to(device), valid.to(device))
        return ModelDecoding(self.model, self.model.project_memory(memory), beams, capacity)


class ModelDecoding:
    """See `Decoding`. Each row has a copy of its past."""

    def __init__(
        self, model: TranslationModel, memory: SourceMemory, beams: int, capacity: int
    ) -> None:
        self.model, self.memory, self.beams = model, memory, beams
        self.state = model.start_state(memory, beams, capacity)
        self.position = torch.zeros(1, dtype=torch.int64, device=model.head.weight.device)

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
        self.state.select(beam_rows(parents, self.beams).to(self.position.device))

    def keep(self, sentences: Int[Tensor, "kept"]) -> None:
        self.state.select(kept_rows(sentences, self.beams).to(self.position.device))
        self.memory = self.memory.select(sentences.to(self.position.device))


def beam_rows(parents: Int[Tensor, "sentences beams"], beams: int) -> Int[Tensor, "rows"]:
    """Of `Decoding.select`'s parents, the rows that go on."""
    first = torch.arange(len(parents), device=parents.device)[:, None] * beams
    return (first + parents).flatten()


def kept_rows(sentences: Int[Tensor, "kept"], beams: int) -> Int[Tensor, "rows"]:
    """All rows of these sentences."""
    every = torch.arange(beams, device=sentences.device)
    return (sentences[:, None] * beams + every).flatten()


class Texts(Protocol):
    """Texts of one length that are read on and on, each a row of a memory."""

    def read(
        self, tokens: Int[Tensor, "rows count"], wanted: int = 1
    ) -> Float[Tensor, "rows wanted width"]:
        """Read tokens of every row; hidden states of the last `wanted` of them."""

    def logits(self) -> Float[Tensor, "rows vocabulary"]:
        """What follows the last tokens, whose hidden states were wanted; float32, on the CPU."""

    def select(self, rows: Int[Tensor, "kept"]) -> None:
        """Go on with these rows only; one that is named twice goes on twice."""


class TextDecoder:
    """Goes on with texts; see `Decoder`.

    The source of a request is the text so far: [BOS] and its tokens. All that are decoded together
    have the same length.
    """

    parallel = False
    special: SpecialIds

    def texts(self, rows: int, capacity: int) -> Texts:
        """Nothing is read yet; no row will be longer than `capacity`."""
        raise NotImplementedError

    def start(self, source: Sources, valid: Valid, beams: int, capacity: int) -> TextDecoding:
        assert bool(valid.all()), "texts of several lengths are decoded apart"
        rows, length = source.shape
        texts = self.texts(rows, length + capacity)
        if length > 1:
            texts.read(source[:, :-1], wanted=0)
        texts.select(torch.arange(rows).repeat_interleave(beams))
        return TextDecoding(texts, source[:, -1].repeat_interleave(beams), beams)


class TextDecoding:
    """See `Decoding`. Searches begin with [BOS]; here it stands for the last token so far."""

    def __init__(self, texts: Texts, last: Int[Tensor, "rows"], beams: int) -> None:
        self.texts, self.beams = texts, beams
        self.last: Tensor | None = last

    def step(self, tokens: Int[Tensor, "rows"]) -> Float[Tensor, "rows vocabulary"]:
        tokens, self.last = tokens if self.last is None else self.last, None
        self.texts.read(tokens[:, None])
        return self.texts.logits()

    def select(self, parents: Int[Tensor, "sentences beams"]) -> None:
        self.texts.select(beam_rows(parents, self.beams))

    def keep(self, sentences: Int[Tensor, "kept"]) -> None:
        self.texts.select(kept_rows(sentences, self.beams))


class LanguageDecoder(TextDecoder):
    """Goes on with texts by a language model as it is."""

    def __init__(self, model: LanguageModel, special: SpecialIds = OWN) -> None:
        self.model, self.special = model, special

    def texts(self, rows: int, capacity: int) -> ModelTexts:
        return ModelTexts(self.model, rows, capacity)


class ModelTexts:
    """See `Texts`. Each row has a copy of its past."""

    def __init__(self, model: LanguageModel, rows: int, capacity: int) -> None:
        self.model, self.state = model, model.start_state(rows, capacity)
        self.device, self.length = model.head.weight.device, 0
        self.last: Tensor | None = None

    def read(
        self, tokens: Int[Tensor, "rows count"], wanted: int = 1
    ) -> Float[Tensor, "rows wanted width"]:
        count = tokens.shape[1]
        positions = torch.arange(self.length, self.length + count, device=self.device)
        hidden = self.model.hidden(tokens.to(self.device), positions=positions, state=self.state)
        self.length, self.last = self.length + count, hidden[:, -1]
        return hidden[:, count - wanted :]

    def logits(self) -> Float[Tensor, "rows vocabulary"]:
        assert self.last is not None, "nothing was read"
        return self.model.logits(self.last).float().cpu()

    def select(self, rows: Int[Tensor, "kept"]) -> None:
        rows = rows.to(self.device)
        self.state.select(rows)
        self.last = None if self.last is None else self.last[rows]
