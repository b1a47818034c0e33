"""Many requests at once through one model: what is asked, what is written, and at what speed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, NamedTuple, Self

from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from peluche.config import Config
from peluche.errors import DataError, PelucheError
from peluche.generation.decoder import TextDecoder
from peluche.generation.requests import GenerationRequest
from peluche.generation.sampler import Chosen, Sampler
from peluche.inference.blocks import BlockPool
from peluche.inference.runner import Chunk, Runner
from peluche.inference.scheduler import Scheduler, Sequence, Work
from peluche.inference.searching import PagedDecoder, check_fits
from peluche.inference.speculation import Drafter, DraftLengths, Wish
from peluche.interrupts import interruptible, uninterrupted
from peluche.models.decoder import Decoder


class Token(NamedTuple):
    """A request's next token; the last may be the end of the text."""

    key: int
    chosen: Chosen


class Finished(NamedTuple):
    """A request is done; nothing comes after this.

    Attributes:
        reason: "stop": the text ended, or the guide was complete; "length": `max_tokens` are
            written.
    """

    key: int
    reason: Literal["stop", "length", "cancelled", "error"]
    error: PelucheError | None = None


Event = Token | Finished


class EngineConfig(Config):
    """How requests share a model."""

    running: int = Field(32, gt=0, description="the most requests in a step")
    step_tokens: int = Field(256, gt=0, description="the most tokens that are read in a step")
    prefix_cache: bool = Field(True, description="prompts that begin alike are read once")
    drafts: int = Field(16, gt=0, description="the most tokens that are guessed in a step")

    @model_validator(mode="after")
    def _all_go_on(self) -> Self:
        if self.step_tokens < self.running:
            raise ValueError(
                f"step_tokens {self.step_tokens} are fewer than running {self.running}, which may "
                f"each need one; nearest that fits: step_tokens {self.running}"
            )
        return self


@dataclass
class Counters:
    """What an engine has done since it was made.

    Attributes:
        seconds: in steps and searches, of which there is nothing else but what was `written`.
        read: tokens that went through the model.
        written: tokens that were chosen.
        cached: tokens of prompts that were in memory already.
        drafted: tokens that were guessed and tried, of which `accepted` were right.
        preemptions: how often a request had to give up its memory.
        blocks: in use after the last step; `peak_blocks` the most that a step had.
    """

    seconds: float = 0.0
    steps: int = 0
    read: int = 0
    written: int = 0
    cached: int = 0
    drafted: int = 0
    accepted: int = 0
    preemptions: int = 0
    blocks: int = 0
    peak_blocks: int = 0

    @property
    def tokens_per_second(self) -> float:
        """Written, while there was something to do."""
        return self.written / self.seconds if self.seconds else 0.0


class Engine:
    """Continuous batching: every step gives each running request its next token.

    Requests come and go between steps. Each gets the tokens that it would get alone, but for
    rounding where two tokens are as likely. Not to be called by several threads at once.

    Args:
        sampler: of the runner's vocabulary; holds what requests bring from step to step.
        drafter: guesses tokens, so that fewer steps are needed.
    """

    def __init__(
        self,
        runner: Runner,
        sampler: Sampler,
        config: EngineConfig = EngineConfig(),
        drafter: Drafter | None = None,
    ) -> None:
        self.runner, self.sampler, self.drafter = runner, sampler, drafter
        self.drafts, self.lengths = config.drafts, DraftLengths(config.drafts)
        self.pool = BlockPool(runner.blocks, runner.block_size, cache=config.prefix_cache)
        self.scheduler = Scheduler(self.pool, config.running, config.step_tokens, runner.window)
        self.counters = Counters()
        self.left: dict[int, int] = {}  # how many tokens each request may still be given
        self.due: list[Event] = []  # what the next step says
        self.next_key = 0

    @property
    def capacity(self) -> int | None:
        """The most tokens that a sequence may have; None for any number."""
        limits = (self.scheduler.longest, self.runner.longest)
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def idle(self) -> bool:
        """Whether a step would do nothing."""
        return not self.left and not self.due

    def add(self, request: GenerationRequest) -> int:
        """Let a request wait for its turn; the key that its events will have.

        Raises:
            DataError: more than `capacity` tokens.
            ConfigError: a guide that cannot be followed, or ids that are no tokens.
        """
        tokens, capacity = request.tokens, self.capacity
        # The last token is written and not read.
        if capacity is not None and len(tokens) + request.max_tokens - 1 > capacity:
            raise DataError(
                f"a prompt of {len(tokens)} tokens and {request.max_tokens} more do not fit into "
                f"the {capacity} that a sequence may have",
                remedy="shorten the prompt, ask for fewer tokens, or give the engine more blocks",
            )
        with uninterrupted():
            key = self.next_key
            self.sampler.add(key, request)
            self.next_key += 1
            self.left[key] = request.max_tokens
            self.scheduler.add(key, tokens)
        return key

    def cancel(self, key: int) -> None:
        """Stop writing, whatever has become of a request; the next step says so, if it was due."""
        with uninterrupted():
            for sequence in [*self.scheduler.running, *self.scheduler.waiting]:
                if sequence.key == key:
                    self.due.append(self._finish(sequence, Finished(key, "cancelled")))

    def refresh(self, model: Decoder) -> None:
        """Go on with the model's weights of the moment; what was read with others is read again."""
        with uninterrupted():
            self.scheduler.interrupt_all()
            self.pool.forget_all()
        self.runner.refresh(model)

    @contextmanager
    def searching(self, prompt: int, longest: int, rows: int) -> Iterator[TextDecoder]:
        """A decoder for one search, over the blocks of this engine; between two steps.

        Requests that hold blocks which the search needs give theirs up, and are read again.

        Args:
            prompt: its tokens.
            longest: tokens of the prompt and all that is written.
            rows: texts that the search follows.

        Raises:
            DataError: they do not fit into the memory.
        """
        if check_fits(prompt, longest, rows, self.pool) > self.pool.free:
            self.scheduler.interrupt_all()
        decoder = PagedDecoder(self.runner, self.pool, self.sampler.special)
        try:
            yield decoder
        finally:
            with uninterrupted():
                decoder.close()

    def step(self) -> list[Event]:
        """Read what fits, and give every request that has been read its next token.

        If the runner raises or is interrupted, the next call reads again what was not read.
        Elsewhere Ctrl-C waits for the end of the step, whose events then come with the next one.
        """
        with uninterrupted():
            started = time.perf_counter()
            self._draft()
            step = self.scheduler.step()
            self.counters.peak_blocks = max(self.counters.peak_blocks, self.pool.used)
            if step.work:
                self.due += self._written(step.work, self._logits(step.copies, step.work))
            self._count(step.work, time.perf_counter() - started)
        events, self.due = self.due, []
        return events

    def _draft(self) -> None:
        if self.drafter is None:
            return
        ready = [one for one in self.scheduler.running if one.pending == 1]
        # Guesses pay where a step has few rows; one token comes by itself.
        share = self.drafts // max(1, len(ready))
        wishes = [
            Wish(one.key, one.tokens, min(self.lengths.of(one.key), share, self.left[one.key] - 1))
            for one in ready
        ]
        wishes = [wish for wish in wishes if wish.most > 0]
        drafts = dict(zip((wish.key for wish in wishes), self.drafter.draft(wishes), strict=True))
        for one in ready:
            one.drafts = drafts.get(one.key, [])

    def _logits(
        self, copies: list[tuple[int, int]], work: list[Work]
    ) -> Float[Tensor, "wanted vocabulary"]:
        """What is wanted, work for work."""
        chunks = [
            Chunk(one.tokens, one.sequence.computed, one.sequence.blocks, one.wanted)
            for one in work
        ]
        try:
            with interruptible():
                for source, target in copies:
                    self.runner.copy(source, target)
                return self.runner.run(chunks)
        except BaseException:
            self.scheduler.interrupt_all()
            raise

    def _written(self, work: list[Work], logits: Float[Tensor, "wanted vocabulary"]) -> list[Event]:
        """The tokens that follow from a step's logits.

        A draft is right if it is what is chosen in its place (Leviathan et al. 2023, with the
        draft's distribution taken as a point): the request gets what it would get without.
        """
        events: list[Event] = []
        given: list[list[int]] = [[] for _ in work]
        ends: dict[int, Finished] = {}
        first = [0, *accumulate(one.wanted for one in work)]
        active = [place for place, one in enumerate(work) if one.wanted]
        while active:
            keys = [work[place].sequence.key for place in active]
            rows = [first[place] + len(given[place]) for place in active]
            # Without guesses these are all rows, and nothing is copied.
            theirs = logits if len(rows) == len(logits) else logits[rows]
            matching = []
            for place, chosen in zip(active, self.sampler.choose(keys, theirs), strict=True):
                one, tokens = work[place], given[place]
                key = one.sequence.key
                if isinstance(chosen, PelucheError):
                    ends[key] = Finished(key, "error", chosen)
                    continue
                events.append(Token(key, chosen))
                tokens.append(chosen.token)
                if chosen.ended or len(tokens) == self.left[key]:
                    ends[key] = Finished(key, "stop" if chosen.ended else "length")
                elif tokens == one.sequence.drafts[: one.drafts][: len(tokens)]:
                    matching.append(place)
            active = matching
        for one, tokens in zip(work, given, strict=True):
            self.scheduler.advance(one, tokens)
            self._learn(one, len(tokens))
            if one.sequence.key in ends:
                events.append(self._finish(one.sequence, ends[one.sequence.key]))
        return events

    def _learn(self, work: Work, given: int) -> None:
        self.left[work.sequence.key] -= given
        self.counters.written += given
        if work.drafts:
            right = max(0, given - 1)
            self.counters.drafted += work.drafts
            self.counters.accepted += right
            self.lengths.learn(work.sequence.key, work.drafts, right)

    def _finish(self, sequence: Sequence, end: Finished) -> Finished:
        self.scheduler.remove(sequence, keep=end.error is None)
        self.sampler.remove(end.key)
        self.lengths.forget(end.key)
        if self.drafter is not None:
            self.drafter.forget(end.key)
        del self.left[end.key]
        return end

    def _count(self, work: list[Work], seconds: float) -> None:
        counters = self.counters
        counters.seconds += seconds
        counters.steps += bool(work)
        counters.read += sum(len(one.tokens) for one in work)
        counters.cached, counters.preemptions = (
            self.scheduler.cached_tokens,
            self.scheduler.preemptions,
        )
        counters.blocks = self.pool.used
