"""Text generation: many prompts in, texts out as they are written, each by its own settings."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

from peluche.errors import ConfigError, PelucheError
from peluche.generation.guides import GuideFactory
from peluche.generation.requests import GenerationRequest
from peluche.generation.sampler import Chosen, Sampler
from peluche.generation.sampling import check_ids
from peluche.inference.engine import Finished, Token
from peluche.interrupts import uninterrupted
from peluche.models.language_model import LanguageModel
from peluche.nn.machine import trim_memory
from peluche.tasks.engines import GeneratorConfig, refresh_engine, start_engine
from peluche.tasks.listed import check_listed
from peluche.tasks.searches import search
from peluche.tasks.text_requests import (
    Generated,
    Piece,
    Said,
    TextRequest,
    no_room,
    nothing_to_begin_with,
)
from peluche.tasks.writing import Writing
from peluche.text.streaming import TextStream
from peluche.text.tokenizer import Tokenizer


class TextGenerator:
    """A language model and its tokenizer, ready to write. Not for several threads at once.

    Args:
        model: is put into evaluation mode. Decoders run by copies of their weights: `refresh` when
            they have changed.
        context: the most tokens that the model was made for; None for any number.
        draft: a smaller decoder with the same tokenizer, which guesses what this one will say.

    Attributes:
        context: the most tokens of a prompt and what comes after it; None for any number.

    Raises:
        ConfigError: the model cannot run as `config` says, or not with this draft.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        context: int | None = None,
        config: GeneratorConfig = GeneratorConfig(),
        draft: LanguageModel | None = None,
    ) -> None:
        self.tokenizer, self.most = tokenizer, config.engine.running
        self._models = [model.config] if draft is None else [model.config, draft.config]
        # Rows of an embedding that no token has.
        nothing = tuple(range(len(tokenizer), model.vocabulary))
        special = tokenizer.special._replace(never=(*tokenizer.special.never, *nothing))
        self.sampler = Sampler(special, model.vocabulary)
        self.engine = start_engine(model.eval(), self.sampler, context, config, draft)
        trim_memory()
        limits = [limit for limit in (context, self.engine.capacity) if limit is not None]
        self.context = min(limits, default=None)
        self._scarce = self.context is not None and self.context != context
        self._writing: dict[int, Writing] = {}
        self._searching: deque[Writing] = deque()

    def refresh(self, model: LanguageModel, draft: LanguageModel | None = None) -> None:
        """Go on with the models' weights of the moment, also with what is being written.

        Args:
            model, draft: those that this was made with, or others of the same configuration.

        Raises:
            ConfigError: they are of another one.
        """
        models = [model] if draft is None else [model, draft]
        if [one.config for one in models] != self._models or any(
            one.vocabulary != self.sampler.vocabulary for one in models
        ):
            raise ConfigError(
                "these are not the models that this generator was made for",
                remedy="make another generator, or give models (and a draft) of the same config",
            )
        refresh_engine(self.engine, model, draft)

    def generate(self, prompts: Sequence[str | TextRequest], **options: Any) -> list[Generated]:
        """What comes after each prompt, in their order.

        Args:
            options: of prompts that are plain texts; see `TextRequest` and `SamplingParameters`.

        Raises:
            ConfigError: an option that is not known, or out of range. A request that fails for
                itself has its error in its result.
        """
        check_listed(prompts)
        requests = [self._request(prompt, options, number) for number, prompt in enumerate(prompts)]
        found = dict(self.finished(enumerate(requests)))
        return [found[number] for number in range(len(requests))]

    def stream(self, prompt: str | TextRequest, **options: Any) -> Generator[Piece, None, None]:
        """What comes after a prompt, as it is written; see `generate`.

        There is a piece for every step, at times an empty one. To stop reading is to cancel the
        request. Several streams may be read in turn: their requests are computed together.

        Raises:
            PelucheError: what the request failed with.
        """
        writing = self.start(self._request(prompt, options, 0))
        try:
            last = False
            while not last:
                if not writing.pieces:
                    self.step()
                pieces = [*writing.pieces] or [Piece("", writing.result, False)]
                writing.pieces.clear()
                for piece in pieces:
                    last = piece.last
                    if last and piece.result.error is not None:
                        raise piece.result.error
                    yield piece
        finally:
            self.cancel(writing)

    def finished(
        self, requests: Iterable[tuple[int, TextRequest]]
    ) -> Iterator[tuple[int, Generated]]:
        """Results as they are done, each with the number that its request came with.

        Requests are taken in as there is room for them, so there may be any number.
        """
        waiting = iter(requests)
        numbers: dict[int, Writing] = {}
        more = True
        try:
            while more or numbers:
                while more and len(numbers) < 2 * self.most:
                    number, request = next(waiting, (0, None))
                    if request is None:
                        more = False
                        break
                    try:
                        numbers[number] = self.start(request)
                    except PelucheError as error:
                        yield number, Generated(request, finish_reason="error", error=error)
                self.step()
                for number, writing in list(numbers.items()):
                    if writing.result.finish_reason is not None:
                        del numbers[number]
                        yield number, writing.result
        finally:
            for writing in numbers.values():
                self.cancel(writing)

    def start(self, request: TextRequest) -> Writing:
        """Let a request wait for its turn. Its pieces come with `step`.

        Raises:
            DataError: it does not fit.
            ConfigError: a guide that cannot be followed.
            MissingExtraError: there is a guide, and nothing to follow it with.
        """
        tokens = self._fitting(self._encoded(request.prompt), request)
        stream = TextStream(self.tokenizer, before=tokens, stop=request.stop)
        writing = Writing(request, tokens, stream)
        if request.search is not None:
            check_ids(tokens, self.sampler.vocabulary, "the prompt")
            self._searching.append(writing)
            return writing
        try:
            self._enter(writing)
        except BaseException:
            self.cancel(writing)
            raise
        return writing

    def step(self) -> None:
        """One token more for every request that can be given one; one search from end to end.

        Ctrl-C may end this while the model reads, and else when all that was chosen is said: what
        is done after it is what would have been done without it.
        """
        with uninterrupted():
            if self._searching:
                self._search(self._searching[0])
            for event in self.engine.step():
                writing = self._writing.get(event.key)
                if writing is None:
                    continue
                if isinstance(event, Token):
                    self._say(writing, event.chosen)
                else:
                    self._finish(writing, event)

    def cancel(self, writing: Writing) -> None:
        """Stop a request, whatever has become of it. Nothing more comes of it."""
        with uninterrupted():
            if writing in self._searching:
                self._searching.remove(writing)
                writing.end("cancelled")
            if self._writing.pop(writing.key, None) is not None:
                self.engine.cancel(writing.key)
                writing.end("cancelled")

    def _request(
        self, prompt: str | TextRequest, options: Mapping[str, Any], number: int
    ) -> TextRequest:
        if isinstance(prompt, TextRequest):
            return prompt
        return TextRequest.flat({"stream": number, **options, "prompt": prompt})

    def _encoded(self, prompt: str | tuple[int, ...]) -> list[int]:
        tokens = self.tokenizer.encode(prompt, bos=True) if isinstance(prompt, str) else prompt
        if not tokens:
            raise nothing_to_begin_with()
        return list(tokens)

    def _fitting(self, tokens: list[int], request: TextRequest) -> list[int]:
        """A prompt cut to what leaves room."""
        context, count = self.context, len(tokens)
        if context is None or count + request.max_tokens <= context:
            return tokens
        if request.on_overflow == "slide":
            return tokens if count < context else self._last(tokens, context - _freed(context))
        if request.on_overflow == "truncate" and request.max_tokens < context:
            return self._last(tokens, context - request.max_tokens)
        whose = f"the model's {context}"
        remedy = (
            "ask for fewer tokens, or let its beginning be left out: --overflow truncate or slide"
        )
        if self._scarce:
            whose = f"the {context} that the memory for keys and values holds"
            remedy += ", or give more memory: --memory, `memory` of GeneratorConfig"
        raise no_room(request.prompt, count, request.max_tokens, whose, remedy)

    def _last(self, tokens: list[int], count: int) -> list[int]:
        """The last of some tokens, with [BOS] before them if that was there."""
        begins = tokens[:1] == [self.tokenizer.bos_id] and count > 1
        return [*tokens[:begins], *tokens[len(tokens) - count + begins :]]

    def _enter(self, writing: Writing) -> None:
        """Give a request to the engine: all of it, or what fits into the context."""
        request, left = writing.result.request, self._left(writing)
        if self.context is not None:
            left = min(left, self.context - len(writing.tokens))
        if request.guide is not None and self.sampler.guides is None:
            self.sampler.guides = GuideFactory(self.tokenizer, self.sampler.vocabulary)
        values = {
            "tokens": tuple(writing.tokens),
            "max_tokens": left,
            "sampling": request.sampling,
            # What goes on after the context slid has random numbers of its own.
            "stream": request.stream + (writing.slides << 32),
            # It makes no difference to penalties.
            "read": writing.prompt,
            "said": tuple(said.id for said in writing.result.tokens),
            "guide": request.guide,
            "logprobs": request.logprobs or 0,
            "ignore_eos": request.ignore_eos,
        }
        with uninterrupted():
            writing.key = self.engine.add(GenerationRequest.parse(values, where="this request"))
            self._writing[writing.key] = writing

    def _search(self, writing: Writing) -> None:
        """Answer a request by the search that it asks for."""
        request, result = writing.result.request, writing.result
        assert request.search is not None
        counters, started = self.engine.counters, time.perf_counter()
        try:
            best, *others = search(self.engine, writing.tokens, request.max_tokens, request.search)
        except PelucheError as error:
            writing.end("error", error)
        except Exception:
            # It would fail again, and keep all others from their turn.
            self._searching.popleft()
            raise
        else:
            result.found = best.score
            for token in best.tokens:
                result.tokens.append(self._said(token, math.nan))
                writing.say(writing.stream.add(token))
            for other in others:
                stream = TextStream(self.tokenizer, before=writing.tokens)
                text = "".join(map(stream.add, other.tokens)) + stream.end()
                result.alternatives.append((text, other.score))
            counters.written += len(best.tokens)
            counters.seconds += time.perf_counter() - started
            writing.end("length" if len(best.tokens) == request.max_tokens else "stop")
        # Not before: what was interrupted is done again.
        self._searching.popleft()

    def _left(self, writing: Writing) -> int:
        return writing.result.request.max_tokens - len(writing.result.tokens)

    def _say(self, writing: Writing, chosen: Chosen) -> None:
        result = writing.result
        ends = chosen.token in result.request.stop_tokens
        top = tuple(self._said(token, logprob) for token, logprob in chosen.top)
        said = self._said(chosen.token, chosen.logprob)._replace(top=top)
        if ends or chosen.token == self.tokenizer.eos_id:
            result.ended_by = said
        else:
            result.tokens.append(said)
            writing.tokens.append(chosen.token)
            writing.say(writing.stream.add(chosen.token))
        if ends or writing.stream.stopped is not None:
            del self._writing[writing.key]
            self.engine.cancel(writing.key)
            writing.end("stop")

    def _finish(self, writing: Writing, event: Finished) -> None:
        del self._writing[event.key]
        context, slides = self.context, writing.result.request.on_overflow == "slide"
        if event.reason == "length" and self._left(writing) and slides and context is not None:
            writing.tokens = self._last(writing.tokens, context - _freed(context))
            writing.slides += 1
            self._enter(writing)
        else:
            writing.end(event.reason, event.error)

    def _said(self, token: int, logprob: float) -> Said:
        text = self.tokenizer.readable(token) if token < len(self.tokenizer) else ""
        return Said(token, text, logprob)


def _freed(context: int) -> int:
    return max(1, context // 2)
