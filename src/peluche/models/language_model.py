"""The surface that all families share that go on with a text."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from peluche.models.generative import GenerativeModel
from peluche.nn.state import State


class LanguageModel(GenerativeModel):
    """Objectives, searches and tasks need no more of a model than this."""

    def start_state(self, rows: int, capacity: int) -> State:
        """A state for so many texts; at most `capacity` positions are written to it."""
        raise NotImplementedError

    def hidden(
        self,
        tokens: Int[Tensor, "rows length"],
        *,
        positions: Int[Tensor, "length"] | None = None,
        document_ids: Int[Tensor, "rows length"] | None = None,
        state: Any = None,
    ) -> Float[Tensor, "rows length width"]:
        """What the head reads after each of `tokens`.

        Args:
            positions: where the tokens stand in their rows; from 0 on unless given.
            document_ids: which of several documents packed into a row a token belongs to. Nothing
                of one document reaches another.
            state: what was read before, which `tokens` go on with; `positions` are then needed.
        """
        raise NotImplementedError
