"""Searches that follow several texts at once, over the engine's memory and by its runner.

The rows of a search share the blocks that they have in common; one that is written to is copied
first, if somebody else refers to it (Kwon et al. 2023, §4.4).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from peluche.errors import DataError
from peluche.generation.decoder import TextDecoder
from peluche.inference.blocks import BlockPool
from peluche.inference.runner import Chunk, Runner
from peluche.interrupts import interruptible
from peluche.text.tokenizer import SpecialIds

# Tokens of a row that are read at a time: each may have logits.
PIECE = 64


def blocks_needed(prompt: int, longest: int, rows: int, block_size: int) -> int:
    """The most blocks that a search holds: full ones of the prompt once, others for each row.

    Args:
        prompt: its tokens.
        longest: tokens of the prompt and all that is written.
        rows: texts that are followed.
    """
    shared = (prompt - 1) // block_size
    # One more while a block is copied.
    return shared + rows * (-(-longest // block_size) - shared) + 1


class PagedDecoder(TextDecoder):
    """See `TextDecoder`: rows of blocks of a pool, which has to have as many as are needed.

    `close` gives the blocks of all texts back.
    """

    def __init__(self, runner: Runner, pool: BlockPool, special: SpecialIds) -> None:
        self.runner, self.pool, self.special = runner, pool, special
        self._opened: list[PagedTexts] = []

    def texts(self, rows: int, capacity: int) -> PagedTexts:
        opened = PagedTexts(self.runner, self.pool, rows)
        self._opened.append(opened)
        return opened

    def close(self) -> None:
        """Nothing is read after this."""
        for texts in self._opened:
            texts.select(torch.empty(0, dtype=torch.int64))


class PagedTexts:
    """See `peluche.generation.decoder.Texts`.

    Attributes:
        tables: of each row, where its keys and values are.
    """

    def __init__(self, runner: Runner, pool: BlockPool, rows: int) -> None:
        self.runner, self.pool = runner, pool
        self.tables: list[list[int]] = [[] for _ in range(rows)]
        self.length = 0
        self.last: Tensor | None = None

    def read(
        self, tokens: Int[Tensor, "rows count"], wanted: int = 1
    ) -> Float[Tensor, "rows wanted width"]:
        count, found = tokens.shape[1], list[Tensor]()
        for start in range(0, count, PIECE):
            piece = tokens[:, start : start + PIECE].tolist()
            size = len(piece[0])
            some = min(size, max(0, start + size - (count - wanted)))
            self._make_room(size)
            chunks = [
                Chunk(row, self.length, table, some)
                for row, table in zip(piece, self.tables, strict=True)
            ]
            with interruptible():
                read = self.runner.read(chunks)
            self.length += size
            found.append(read.hidden.view(len(tokens), some, read.hidden.shape[-1]))
            if some:
                self.last = read.logits[some - 1 :: some]
        return torch.cat(found, 1)

    def logits(self) -> Float[Tensor, "rows vocabulary"]:
        assert self.last is not None, "nothing was wanted"
        return self.last.clone()

    def select(self, rows: Int[Tensor, "kept"]) -> None:
        before, self.tables = self.tables, [list(self.tables[row]) for row in rows.tolist()]
        for table in self.tables:
            for block in table:
                self.pool.share(block)
        for table in before:
            self.pool.release(table)
        self.last = None if self.last is None else self.last[rows.cpu()]

    def _make_room(self, count: int) -> None:
        """Blocks for so many tokens more of every row, and of its own where it writes."""
        size = self.pool.block_size
        needed = -(-(self.length + count) // size)
        for table in self.tables:
            if self.length % size and self.pool.references[table[-1]] > 1:
                own = self._take()
                self.runner.copy(table[-1], own)
                self.pool.release([table[-1]])
                table[-1] = own
            while len(table) < needed:
                table.append(self._take())

    def _take(self) -> int:
        block = self.pool.take()
        assert block is not None, "there were as many as are needed"
        return block


def check_fits(prompt: int, longest: int, rows: int, pool: BlockPool) -> int:
    """`blocks_needed`, if a pool has so many at all.

    Raises:
        DataError: it has fewer.
    """
    needed, blocks = blocks_needed(prompt, longest, rows, pool.block_size), len(pool.references)
    if needed > blocks:
        raise DataError(
            f"a search that follows {rows} texts of up to {longest} tokens needs {needed} blocks "
            f"of {pool.block_size} tokens; the memory has {blocks}",
            remedy="follow fewer (beams, candidates), ask for fewer tokens, or give more memory",
        )
    return needed
