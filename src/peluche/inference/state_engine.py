"""Many requests through a model that remembers otherwise than in keys and values."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from peluche.errors import PelucheError
from peluche.generation.decoder import LanguageDecoder, TextDecoder
from peluche.generation.requests import GenerationRequest
from peluche.generation.sampler import Sampler
from peluche.inference.engine import Counters, Event, Finished, Token
from peluche.interrupts import interruptible, uninterrupted
from peluche.models.language_model import LanguageModel
from peluche.nn.state import RecurrentState, State


@dataclass
class _Text:
    """One request: its tokens, and how many of them its state has read.

    Attributes:
        state: None before anything was read.
    """

    tokens: list[int]
    left: int
    capacity: int
    state: State | None = None
    read: int = 0


class StateEngine:
    """The surface of `Engine` for any language model: each request has a state of its own.

    A step gives each request its next token, one after the other.

    Args:
        model: in evaluation mode; runs as it is.
    """

    def __init__(self, model: LanguageModel, sampler: Sampler) -> None:
        self.model, self.sampler = model, sampler
        self.counters = Counters()
        self.texts: dict[int, _Text] = {}
        self.due: list[Event] = []  # what the next step says
        self.next_key = 0

    @property
    def capacity(self) -> int | None:
        """The most tokens that a sequence may have; None for any number."""
        return self.model.longest

    @property
    def idle(self) -> bool:
        """Whether a step would do nothing."""
        return not self.texts and not self.due

    def add(self, request: GenerationRequest) -> int:
        """See `Engine.add`; that the request fits is left to the caller.

        Raises:
            ConfigError: a guide that cannot be followed, or ids that are no tokens.
        """
        with uninterrupted():
            key, tokens = self.next_key, list(request.tokens)
            self.sampler.add(key, request)
            self.next_key += 1
            self.texts[key] = _Text(tokens, request.max_tokens, len(tokens) + request.max_tokens)
        return key

    def cancel(self, key: int) -> None:
        """See `Engine.cancel`."""
        with uninterrupted():
            if key in self.texts:
                self.due.append(self._finish(Finished(key, "cancelled")))

    def refresh(self, model: LanguageModel) -> None:
        """See `Engine.refresh`."""
        with uninterrupted():
            self.model = model
            self._read_again()

    @contextmanager
    def searching(self, prompt: int, longest: int, rows: int) -> Iterator[TextDecoder]:
        """See `Engine.searching`; there is always room."""
        with interruptible():
            yield LanguageDecoder(self.model, self.sampler.special)

    def step(self) -> list[Event]:
        """See `Engine.step`."""
        with uninterrupted():
            started = time.perf_counter()
            if self.texts:
                self._choose(list(self.texts))
                self.counters.steps += 1
            self.counters.seconds += time.perf_counter() - started
        events, self.due = self.due, []
        return events

    def _choose(self, keys: list[int]) -> None:
        try:
            with interruptible():
                rows = torch.stack([self._read(self.texts[key]) for key in keys])
            found = self.sampler.choose(keys, rows)
        except BaseException:
            # Who knows what was written.
            self._read_again()
            raise
        for key, chosen in zip(keys, found, strict=True):
            text = self.texts[key]
            if isinstance(chosen, PelucheError):
                self.due.append(self._finish(Finished(key, "error", chosen)))
                continue
            text.tokens.append(chosen.token)
            text.left -= 1
            self.due.append(Token(key, chosen))
            self.counters.written += 1
            if chosen.ended or not text.left:
                reason = Finished(key, "stop" if chosen.ended else "length")
                self.due.append(self._finish(reason))

    def _read_again(self) -> None:
        for text in self.texts.values():
            text.state, text.read = None, 0

    @torch.inference_mode()
    def _read(self, text: _Text) -> Float[Tensor, "vocabulary"]:
        device = self.model.head.weight.device
        if text.state is None:
            text.state = self._start(text.capacity)
        unread = text.tokens[text.read :]
        positions = torch.arange(text.read, len(text.tokens), device=device)
        tokens = torch.tensor([unread], device=device)
        hidden = self.model.hidden(tokens, positions=positions, state=text.state)
        text.read = len(text.tokens)
        self.counters.read += len(unread)
        return self.model.logits(hidden[0, -1]).float().cpu()

    def _start(self, capacity: int) -> State:
        state = self.model.start_state(1, capacity)
        if isinstance(state, RecurrentState):
            state.back = 0
        return state

    def _finish(self, end: Finished) -> Finished:
        del self.texts[end.key]
        self.sampler.remove(end.key)
        return end
