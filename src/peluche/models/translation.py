"""The surface that all families share that read a sentence and write another."""

from __future__ import annotations

from typing import Any, Protocol

from jaxtyping import Bool, Float, Int
from torch import Tensor

from peluche.models.generative import GenerativeModel
from peluche.nn.state import State


class SourceMemory(Protocol):
    """What a model keeps of the sentences it has read, a row each."""

    def select(self, rows: Tensor) -> SourceMemory:
        """These rows only."""


class TranslationModel(GenerativeModel):
    """Objectives, searches, tasks and reports need no more of a model than this.

    Its vocabulary is that of both languages together.
    """

    def encode(
        self, source: Int[Tensor, "batch source"], valid: Bool[Tensor, "batch source"]
    ) -> Any:
        """Read the source sentences, to a `SourceMemory`; `valid` is False at padding."""
        raise NotImplementedError

    def project_memory(self, memory: Any) -> Any:
        """Compute once what all decoding steps need of the memory."""
        return memory

    def start_state(self, memory: Any, beams: int, capacity: int) -> State:
        """A state for `beams` rows a sentence, the rows of a sentence together.

        At most `capacity` positions are written to it.
        """
        raise NotImplementedError

    def hidden(
        self,
        tokens: Int[Tensor, "rows length"],
        *,
        condition: Any,
        positions: Int[Tensor, "length"] | None = None,
        state: Any = None,
    ) -> Float[Tensor, "rows length width"]:
        """What the head reads after each of `tokens`, looking at the memory `condition`.

        With a `state`, `tokens` continue what was read before and `positions` say where they
        stand; `condition` may then have fewer rows, shared by consecutive rows of `tokens`.
        """
        raise NotImplementedError
