"""Many requests through a model that remembers otherwise than in keys and values."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from peluche.errors import PelucheError
from peluche.generation.requests import GenerationRequest
from peluche.generation.sampler import Sampler
from peluche.inference.engine import Counters, Event, Finished, Token
from peluche.models.language_model import LanguageModel
from peluche.nn.state import RecurrentState, State


@dataclass
class _Text:
    """One request: what its state has not read yet, and where that begins.

    Attributes:
        state: None before anything was read.
    """

    unread: list[int]
    left: int
    capacity: int
    state: State | None = None
    position: int = 0


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
        self.cancelled: list[Event] = []
        self.next_key = 0

    @property
    def capacity(self) -> int | None:
        """The most tokens that a sequence may have; None for any number."""
        return self.model.longest

    @property
    def idle(self) -> bool:
        """Whether a step would do nothing."""
        return not self.texts and not self.cancelled

    def add(self, request: GenerationRequest) -> int:
        """See `Engine.add`; that the request fits is left to the caller.

        Raises:
            ConfigError: a guide that cannot be followed, or ids that are no tokens.
        """
        key, tokens = self.next_key, list(request.tokens)
        self.sampler.add(key, request)
        self.next_key += 1
        self.texts[key] = _Text(tokens, request.max_tokens, len(tokens) + request.max_tokens)
        return key

    def cancel(self, key: int) -> None:
        """See `Engine.cancel`."""
        if key in self.texts:
            self.cancelled.append(self._finish(Finished(key, "cancelled")))

    def step(self) -> list[Event]:
        """See `Engine.step`."""
        started = time.perf_counter()
        events, self.cancelled = self.cancelled, []
        keys = list(self.texts)
        if keys:
            rows = torch.stack([self._read(self.texts[key]) for key in keys])
            for key, chosen in zip(keys, self.sampler.choose(keys, rows), strict=True):
                text = self.texts[key]
                if isinstance(chosen, PelucheError):
                    events.append(self._finish(Finished(key, "error", chosen)))
                    continue
                text.position += len(text.unread)
                text.unread = [chosen.token]
                text.left -= 1
                events.append(Token(key, chosen))
                self.counters.written += 1
                if chosen.ended or not text.left:
                    reason = Finished(key, "stop" if chosen.ended else "length")
                    events.append(self._finish(reason))
            self.counters.steps += 1
        self.counters.seconds += time.perf_counter() - started
        return events

    @torch.inference_mode()
    def _read(self, text: _Text) -> Float[Tensor, "vocabulary"]:
        device = self.model.head.weight.device
        # Of a step that was interrupted, something may have been written.
        if text.state is None or not text.position:
            text.state = self._start(text.capacity)
        text.state.truncate(text.position)
        tokens = torch.tensor([text.unread], device=device)
        end = text.position + len(text.unread)
        positions = torch.arange(text.position, end, device=device)
        hidden = self.model.hidden(tokens, positions=positions, state=text.state)
        self.counters.read += len(text.unread)
        return self.model.logits(hidden[0, -1]).float().cpu()

    def _start(self, capacity: int) -> State:
        state = self.model.start_state(1, capacity)
        if isinstance(state, RecurrentState):
            # After the prompt, a step reads one token.
            state.back = 1
        return state

    def _finish(self, end: Finished) -> Finished:
        del self.texts[end.key]
        self.sampler.remove(end.key)
        return end
