"""A request that is being written, and the pieces of its text that are sure."""

from __future__ import annotations

from collections import deque

from peluche.errors import PelucheError
from peluche.tasks.text_requests import FinishReason, Generated, Piece, TextRequest
from peluche.text.streaming import TextStream

NO_KEY = -1


class Writing:
    """A request that is being written.

    Attributes:
        result: what there is so far.
    """

    def __init__(self, request: TextRequest, tokens: list[int], stream: TextStream) -> None:
        self.result = Generated(request, prompt_tokens=len(tokens))
        self.prompt, self.tokens, self.stream = tuple(tokens), tokens, stream
        self.key, self.slides = NO_KEY, 0
        self.pieces: deque[Piece] = deque()

    def say(self, text: str, *, last: bool = False) -> None:
        """Pass on text that is sure."""
        self.result.text += text
        if text or last:
            self.pieces.append(Piece(text, self.result, last))

    def end(self, reason: FinishReason, error: PelucheError | None = None) -> None:
        """Pass on what was held back."""
        text = self.stream.end()
        if reason == "length" and self.stream.stopped is not None:
            reason = "stop"
        self.result.finish_reason, self.result.error = reason, error
        self.say(text, last=True)
