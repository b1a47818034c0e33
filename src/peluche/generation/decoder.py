"""What a search needs of a model, and how a model is made to give it."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from peluche.models.generative import GenerativeModel
from peluche.models.language_model import LanguageModel
from peluche.models.translation import SourceMemory, TranslationModel
from peluche.nn.state import State
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


M = TypeVar("M", bound=GenerativeModel)


class _StateDecoding(Generic[M]):
    """Rows of a state: `beams` for each sentence, each with a copy of its past.

    Args:
        position: (1,), where the next token stands.
    """

    def __init__(self, model: M, state: State, beams: int, position: Tensor) -> None:
        self.model, self.state, self.beams, self.position = model, state, beams, position

    def step(self, tokens: Int[Tensor, "rows"]) -> Float[Tensor, "rows vocabulary"]:
        hidden = self._hidden(tokens.to(self.position.device)[:, None])
        self.position = self.position + 1
        return self.model.logits(hidden[:, 0]).float().cpu()

    def _hidden(self, tokens: Int[Tensor, "rows one"]) -> Float[Tensor, "rows one width"]:
        """What the model makes of a token in each row."""
        raise NotImplementedError

    def select(self, parents: Int[Tensor, "sentences beams"]) -> None:
        first = torch.arange(len(parents), device=parents.device)[:, None] * self.beams
        self.state.select((first + parents).flatten().to(self.position.device))

    def keep(self, sentences: Int[Tensor, "kept"]) -> None:
        beams = torch.arange(self.beams, device=sentences.device)
        rows = (sentences[:, None] * self.beams + beams).flatten()
        self.state.select(rows.to(self.position.device))


class ModelDecoding(_StateDecoding[TranslationModel]):
    """See `Decoding`."""

    def __init__(
        self, model: TranslationModel, memory: SourceMemory, beams: int, capacity: int
    ) -> None:
        position = torch.zeros(1, dtype=torch.int64, device=model.head.weight.device)
        super().__init__(model, model.start_state(memory, beams, capacity), beams, position)
        self.memory = memory

    def _hidden(self, tokens: Int[Tensor, "rows one"]) -> Float[Tensor, "rows one width"]:
        return self.model.hidden(
            tokens, condition=self.memory, positions=self.position, state=self.state
        )

    def keep(self, sentences: Int[Tensor, "kept"]) -> None:
        super().keep(sentences)
        self.memory = self.memory.select(sentences.to(self.position.device))


class LanguageDecoder:
    """Goes on with texts by a language model as it is.

    The source of a request is the text so far: [BOS] and its tokens. All that are decoded together
    have the same length.
    """

    parallel = False

    def __init__(self, model: LanguageModel, special: SpecialIds = OWN) -> None:
        self.model, self.special = model, special

    def start(self, source: Sources, valid: Valid, beams: int, capacity: int) -> LanguageDecoding:
        assert bool(valid.all()), "texts of several lengths are decoded apart"
        model, (rows, length) = self.model, source.shape
        source = source.to(model.head.weight.device)
        state = model.start_state(rows, length + capacity)
        if length > 1:
            positions = torch.arange(length - 1, device=source.device)
            model.hidden(source[:, :-1], positions=positions, state=state)
        state.select(torch.arange(rows, device=source.device).repeat_interleave(beams))
        return LanguageDecoding(model, state, source[:, -1].repeat_interleave(beams), length, beams)


class LanguageDecoding(_StateDecoding[LanguageModel]):
    """See `Decoding`. Searches begin with [BOS]; here it stands for the last token so far."""

    def __init__(
        self, model: LanguageModel, state: State, last: Tensor, length: int, beams: int
    ) -> None:
        super().__init__(model, state, beams, torch.tensor([length - 1], device=last.device))
        self.last: Tensor | None = last

    def step(self, tokens: Int[Tensor, "rows"]) -> Float[Tensor, "rows vocabulary"]:
        tokens, self.last = tokens if self.last is None else self.last, None
        return super().step(tokens)

    def _hidden(self, tokens: Int[Tensor, "rows one"]) -> Float[Tensor, "rows one width"]:
        return self.model.hidden(tokens, positions=self.position, state=self.state)
