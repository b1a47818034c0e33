"""Who has which block of memory, and what is in those that can be read again (no tensors here)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

# What stands for the parent of a sequence's first block.
ROOT = -1


def blocks_behind(window: int | None, position: int, block_size: int) -> int:
    """How many of a sequence's first blocks nobody at `position` or after it looks at.

    Args:
        window: how many positions are looked at, one's own included; None for all before.
    """
    return 0 if window is None else max(0, position + 1 - window) // block_size


class Match(NamedTuple):
    """What of a sequence is in memory already.

    Attributes:
        blocks: full ones, which hold its first tokens.
        partial: a further block whose first `tokens` are the sequence's next; None if there is
            none. It goes on differently, so it has to be copied before more is written.
        tokens: of the partial block.
    """

    blocks: list[int]
    partial: int | None = None
    tokens: int = 0


class BlockPool:
    """Blocks with reference counts, and a cache of full ones by what they hold.

    A cached block is found under its parent, the block before it, and its tokens, all of which are
    compared: a match is never by a hash alone. It keeps what it holds after nobody refers to it any
    more, until its memory is needed; the least recently used go first, and of what follows a block
    the last. A block whose parent is gone is not found any more, whoever refers to it.

    Args:
        blocks: how many there are.
        block_size: tokens of a block.
        cache: whether blocks are found again.
    """

    def __init__(self, blocks: int, block_size: int, *, cache: bool = True) -> None:
        self.block_size, self.cache = block_size, cache
        self.references = [0] * blocks
        self.empty = list(reversed(range(blocks)))
        self.children: dict[int, dict[tuple[int, ...], int]] = {}
        self.places: dict[int, tuple[int, tuple[int, ...]]] = {}  # block: parent, tokens
        self.unused: OrderedDict[int, None] = OrderedDict()  # cached, oldest first

    @property
    def free(self) -> int:
        """Blocks that can be taken."""
        return len(self.empty) + len(self.unused)

    @property
    def used(self) -> int:
        """Blocks that somebody refers to."""
        return len(self.references) - self.free

    def match(self, tokens: Sequence[int]) -> Match:
        """The blocks that hold the beginning of `tokens`; nobody refers to them by that yet."""
        size, parent, found = self.block_size, ROOT, list[int]()
        for start in range(0, len(tokens), size):
            part, children = tuple(tokens[start : start + size]), self.children.get(parent, {})
            block = children.get(part)
            if block is None:
                return self._partial(found, part, children)
            found.append(block)
            parent = block
        return Match(found)

    def _partial(
        self, found: list[int], part: tuple[int, ...], children: dict[tuple[int, ...], int]
    ) -> Match:
        best = max(children, key=lambda tokens: _common(tokens, part), default=())
        common = _common(best, part)
        # Less is sooner read than copied.
        if 2 * common < self.block_size:
            return Match(found)
        return Match(found, children[best], common)

    def take(self) -> int | None:
        """A block for something new, with one reference; None if there is none."""
        if self.empty:
            block = self.empty.pop()
        elif self.unused:
            self.forget(self._last_unused(next(iter(self.unused))))
            block = self.empty.pop()
        else:
            return None
        self.references[block] = 1
        return block

    def _last_unused(self, block: int) -> int:
        """Follow unused blocks: behind a window a parent may be older than what follows it."""
        while True:
            children = self.children.get(block, {}).values()
            follower = next((child for child in children if child in self.unused), None)
            if follower is None:
                return block
            block = follower

    def share(self, block: int) -> None:
        """One more reference to a block that holds something."""
        if not self.references[block]:
            del self.unused[block]
        self.references[block] += 1

    def release(self, blocks: Sequence[int]) -> None:
        """Give up a sequence's references, the last block's first."""
        for block in reversed(blocks):
            self.references[block] -= 1
            if self.references[block]:
                continue
            if block in self.places:
                self.unused[block] = None
            else:
                self.empty.append(block)

    def register(self, block: int, parent: int, tokens: Sequence[int]) -> int:
        """Let a full block be found; the block to go on with in its place.

        That is another one if what it holds was cached before; its reference is then given up, and
        the other one has one more. A block whose parent is not found will not be either.

        Args:
            parent: the block before, which somebody refers to; `ROOT` if there is none.
        """
        if not self.cache or (parent != ROOT and parent not in self.places):
            return block
        part, children = tuple(tokens), self.children.setdefault(parent, {})
        known = children.get(part)
        if known is not None:
            self.share(known)
            self.release([block])
            return known
        children[part] = block
        self.places[block] = (parent, part)
        return block

    def forget_all(self) -> None:
        """Give up what all unused blocks hold."""
        while self.unused:
            self.forget(next(iter(self.unused)))

    def forget_unused(self, tokens: Sequence[int]) -> None:
        """Give up what unused blocks hold of the beginning of `tokens`, and what follows it."""
        for block in self.match(tokens).blocks:
            if block in self.unused:
                self.forget(block)
                return

    def forget(self, block: int) -> None:
        """Give up what an unused block holds; neither it nor what follows it is found any more."""
        going = [block]
        for one in going:  # which grows
            going += self.children.get(one, {}).values()
        for one in reversed(going):
            parent, tokens = self.places.pop(one)
            del self.children[parent][tokens]
            if not self.children[parent]:
                del self.children[parent]
            if one in self.unused:
                del self.unused[one]
                self.empty.append(one)


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """How many first elements are the same."""
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count
