"""Who is read next, and in which blocks: continuous batching (Yu et al. 2022, "Orca", §3).

Plain bookkeeping without tensors and without a model. Each step reads some tokens of each running
sequence: one of those that are being written, more of those whose prompt is still being read, a
chunk at a time (Agrawal et al. 2023, "SARATHI"), within a budget. When blocks run out, the newest
running sequence gives up its own and is read again later (Kwon et al. 2023, §4.5, recomputation).
The oldest is never interrupted, and whoever waits is admitted in the order of arrival, so that
everybody's turn comes. Where a model looks no farther back than a window, a sequence gives up the
blocks behind it.
"""

from __future__ import annotations

from collections.abc import Sequence as Tokens
from dataclasses import dataclass, field
from typing import NamedTuple

from peluche.inference.blocks import ROOT, BlockPool, blocks_behind

# What stands in the place of a block that was given up behind the window.
GONE = -1


@dataclass(eq=False)
class Sequence:
    """What is known of a request's tokens.

    Attributes:
        key: older sequences have smaller ones.
        tokens: of the prompt, and those written since.
        blocks: where its keys and values are; the first `gone` of them were given up.
        computed: how many of `tokens` have been read.
        registered: how many of `blocks` were full, so that others may find them.
        drafts: what may come after `tokens`, to be tried in the next step.
    """

    key: int
    tokens: list[int]
    blocks: list[int] = field(default_factory=list)
    computed: int = 0
    registered: int = 0
    gone: int = 0
    drafts: list[int] = field(default_factory=list)

    @property
    def pending(self) -> int:
        """Tokens that have to be read before there is a next one."""
        return len(self.tokens) - self.computed

    @property
    def held(self) -> list[int]:
        """The blocks that it refers to."""
        return self.blocks[self.gone :]


class Work(NamedTuple):
    """A sequence's part in a step.

    Attributes:
        tokens: to read, from `sequence.computed` on; drafts are the last of them.
        drafts: how many of the sequence's drafts are tried.
        wanted: how many of the last tokens need logits: none of a prompt that does not end here.
    """

    sequence: Sequence
    tokens: list[int]
    drafts: int
    wanted: int


class Step(NamedTuple):
    """What to do now.

    Attributes:
        copies: (source, target) blocks, to be copied in this order before anything is read.
    """

    copies: list[tuple[int, int]]
    work: list[Work]


class Scheduler:
    """See the module.

    Args:
        running: the most sequences in a step.
        step_tokens: the most tokens in a step; at least `running`.
        window: how many positions back are looked at, one's own included; None for all.

    Attributes:
        longest: the most tokens of a sequence; None for any number.
    """

    def __init__(
        self, pool: BlockPool, running: int, step_tokens: int, window: int | None = None
    ) -> None:
        self.pool, self.most, self.step_tokens = pool, running, step_tokens
        size, blocks = pool.block_size, len(pool.references)
        self.longest: int | None = size * blocks
        self.chunk, self.most_held, self.window = step_tokens, blocks, window
        if window is not None:
            # The last full block stays in any case: the next one is found under it.
            self.window = max(window, size + 1)
            # What a chunk looks at begins at worst with the last position of a block.
            behind = size + self.window - 2
            chunk = min(step_tokens, size * blocks - behind)
            if chunk > 0:
                self.longest, self.chunk, self.most_held = None, chunk, -(-(behind + chunk) // size)
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []  # oldest first
        self.preemptions = self.cached_tokens = 0

    def add(self, key: int, tokens: Tokens[int]) -> None:
        """A new sequence, with a larger key than all before it."""
        self.waiting.append(Sequence(key, list(tokens)))

    def remove(self, sequence: Sequence, *, keep: bool = True) -> None:
        """Forget a sequence; `keep` says whether what it read may serve others."""
        (self.running if sequence in self.running else self.waiting).remove(sequence)
        self.pool.release(sequence.held)
        if not keep:
            self.pool.forget_unused(sequence.tokens)

    def step(self) -> Step:
        """Choose what to read, and make room for it."""
        work: list[Work] = []
        budget = self.step_tokens
        short = False
        # Those that are being written come first: they wait for no prompt.
        for sequence in sorted(self.running, key=lambda one: one.pending > 1):
            if sequence not in self.running:  # it has been interrupted
                short = True
                continue
            count = min(sequence.pending, budget, self.chunk)
            if not count:
                continue
            drafts = 0
            if sequence.pending == 1:
                drafts = self._drafts_that_fit(sequence, budget - len(self.running))
            if not self._make_room(sequence, count + drafts):
                short = True
                continue
            work.append(_work(sequence, count, drafts))
            budget -= count + drafts
        # An interrupted sequence may have been given work before.
        work = [one for one in work if one.sequence in self.running]
        copies = [] if short else self._admit(work, budget)
        return Step(copies, work)

    def advance(self, work: Work, accepted: Tokens[int]) -> None:
        """Note that work is done, and which new tokens it gave: its drafts' beginning, one more."""
        sequence = work.sequence
        sequence.computed += len(work.tokens) - work.drafts + max(0, len(accepted) - 1)
        sequence.tokens += accepted
        sequence.drafts = []
        size = self.pool.block_size
        needed = -(-sequence.computed // size)
        self.pool.release(sequence.blocks[needed:])
        del sequence.blocks[needed:]
        for place in range(sequence.registered, sequence.computed // size):
            parent = sequence.blocks[place - 1] if place else ROOT
            part = sequence.tokens[place * size : (place + 1) * size]
            sequence.blocks[place] = self.pool.register(sequence.blocks[place], parent, part)
            sequence.registered += 1
        self._give_up_behind(sequence)

    def _give_up_behind(self, sequence: Sequence) -> None:
        """Give up the blocks that no token yet to be read looks at."""
        gone = blocks_behind(self.window, sequence.computed, self.pool.block_size)
        self.pool.release(sequence.blocks[sequence.gone : gone])
        sequence.blocks[sequence.gone : gone] = [GONE] * (gone - sequence.gone)
        sequence.gone = gone

    def _admit(self, work: list[Work], budget: int) -> list[tuple[int, int]]:
        """Begin with sequences that wait, as long as there is room for their prompts."""
        copies: list[tuple[int, int]] = []
        while self.waiting and len(self.running) < self.most and budget > 0:
            sequence, size = self.waiting[0], self.pool.block_size
            # The last token is read in any case, for what comes after it.
            match = self.pool.match(sequence.tokens[:-1])
            if self._being_read(sequence, match.blocks):
                break
            for block in match.blocks:
                self.pool.share(block)
            sequence.blocks = list(match.blocks)
            sequence.registered = len(match.blocks)
            sequence.computed = size * len(match.blocks)
            self._give_up_behind(sequence)
            # A block is left for each that runs, lest it interrupts the newcomer at once.
            room = len(sequence.held) + self.pool.free - len(self.running)
            if min(-(-len(sequence.tokens) // size) - sequence.gone, self.most_held) > room:
                self._give_up(sequence)
                break
            self.waiting.pop(0)
            self.running.append(sequence)
            if match.partial is not None:
                target = self._copy_of(match.partial)
                if target is not None:
                    copies.append((match.partial, target))
                    sequence.blocks.append(target)
                    sequence.computed += match.tokens
                    self._give_up_behind(sequence)
            self.cached_tokens += sequence.computed
            count = min(sequence.pending, budget, self.chunk)
            fits = self._make_room(sequence, count)
            assert fits, "there was room for the whole prompt"
            work.append(_work(sequence, count, 0))
            budget -= count
        return copies

    def _copy_of(self, block: int) -> int | None:
        """A block for a copy of another; None if there is none besides it."""
        self.pool.share(block)
        target = self.pool.take()
        self.pool.release([block])
        return target

    def _being_read(self, sequence: Sequence, blocks: list[int]) -> bool:
        """Whether somebody is just reading the block after these, so that it will be shared."""
        size, count = self.pool.block_size, len(blocks)
        part = sequence.tokens[size * count : size * (count + 1)]
        return (
            self.pool.cache
            and len(part) == size
            and any(
                other.registered == count
                and other.pending > 1
                and other.blocks[:count][-1:] == blocks[-1:]
                and other.tokens[size * count : size * (count + 1)] == part
                for other in self.running
            )
        )

    def _drafts_that_fit(self, sequence: Sequence, budget: int) -> int:
        """How many drafts can be tried without taking a block that somebody else will need."""
        spare = max(0, self.pool.free - len(self.running))
        room = self.pool.block_size * (len(sequence.blocks) + spare) - len(sequence.tokens)
        return max(0, min(len(sequence.drafts), budget, room))

    def _make_room(self, sequence: Sequence, count: int) -> bool:
        """Blocks for so many tokens more; False if the sequence was interrupted itself."""
        needed = -(-(sequence.computed + count) // self.pool.block_size)
        while len(sequence.blocks) < needed:
            block = self.pool.take()
            if block is not None:
                sequence.blocks.append(block)
                continue
            newest = self.running[-1]
            self._interrupt(newest)
            if newest is sequence:
                return False
        return True

    def interrupt_all(self) -> None:
        """Read all that run again, for a step that was begun and not done."""
        while self.running:
            self._interrupt(self.running[-1])

    def _interrupt(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self._give_up(sequence)
        self.waiting.insert(0, sequence)
        self.preemptions += 1

    def _give_up(self, sequence: Sequence) -> None:
        """Begin again, with nothing read."""
        self.pool.release(sequence.held)
        sequence.blocks, sequence.drafts = [], []
        sequence.computed = sequence.registered = sequence.gone = 0


def _work(sequence: Sequence, count: int, drafts: int) -> Work:
    start = sequence.computed
    tokens = sequence.tokens[start : start + count] + sequence.drafts[:drafts]
    return Work(sequence, tokens, drafts, drafts + 1 if count == sequence.pending else 0)
