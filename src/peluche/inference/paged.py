"""Keys and values in blocks of a fixed size, wherever there is room (Kwon et al. 2023, §4.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from peluche.inference.blocks import blocks_behind
from peluche.inference.runner import Chunk, KVCache, widest_window
from peluche.models.transformer import TransformerConfig
from peluche.nn.masks import causal, prepare
from peluche.nn.state import View

# Of several sequences, (sequences, blocks); or of one, where they lie in a row and need no copy.
Blocks = Int[Tensor, "sequences blocks"] | slice


def find_blocks(tables: Sequence[Sequence[int]], device: torch.device) -> Blocks:
    """Where the blocks of sequences are, as `Pages.read` takes them; each has as many."""
    first, count = tables[0][0], len(tables[0])
    if len(tables) == 1 and list(tables[0]) == list(range(first, first + count)):
        return slice(first, first + count)
    return torch.tensor(tables, device=device)


class Pages(Protocol):
    """Vectors of one kind, keys or values, of all layers: slot s is in block s // block_size."""

    def write(
        self, layer: int, slots: Int[Tensor, "rows"], rows: Float[Tensor, "rows kv_heads width"]
    ) -> None: ...

    def read(
        self, layer: int, blocks: Blocks
    ) -> Float[Tensor, "sequences blocks block_size kv_heads width"]: ...

    def clear(self, blocks: Int[Tensor, "blocks"]) -> None: ...

    def copy(self, source: int, target: int) -> None: ...


class PlainPages:
    """As they are, or rounded to another type of number.

    Args:
        like: as they are read.
        dtype: as they are kept, unless as they are read.

    Attributes:
        slots: (layers, blocks, block_size, kv_heads, width).
    """

    def __init__(
        self, shape: Sequence[int], like: Tensor, dtype: torch.dtype | None = None
    ) -> None:
        # Memory that is not yet in use is not touched; blocks are cleared when they are begun.
        self.slots, self.dtype = like.new_empty(shape, dtype=dtype), like.dtype
        self.flat = self.slots.flatten(1, 2)

    def write(self, layer: int, slots: Tensor, rows: Tensor) -> None:
        self.flat[layer].index_copy_(0, slots, rows.to(self.slots.dtype))

    def read(self, layer: int, blocks: Blocks) -> Tensor:
        if isinstance(blocks, slice):
            return self.slots[layer, blocks][None].to(self.dtype)
        found = self.slots[layer].index_select(0, blocks.flatten())
        return found.unflatten(0, blocks.shape).to(self.dtype)

    def clear(self, blocks: Tensor) -> None:
        self.slots.index_fill_(1, blocks, 0)

    def copy(self, source: int, target: int) -> None:
        self.slots[:, target] = self.slots[:, source]


class QuantisedPages:
    """In whole numbers from −127 to 127, with a scale for each token and head.

    A number x of a vector comes back as x ± max|vector| / 254.
    """

    def __init__(self, shape: Sequence[int], like: Tensor) -> None:
        self.numbers = PlainPages(shape, torch.empty(0, dtype=torch.int8, device=like.device))
        self.scales = PlainPages([*shape[:-1], 1], like)

    def write(self, layer: int, slots: Tensor, rows: Tensor) -> None:
        scales = rows.abs().amax(-1, keepdim=True) / 127
        # Where all are 0 the scale is: anything divides them. NaN stays, in the scale.
        numbers = (rows / scales.masked_fill(scales == 0, 1)).round()
        self.numbers.write(layer, slots, numbers.nan_to_num(0).to(torch.int8))
        self.scales.write(layer, slots, scales)

    def read(self, layer: int, blocks: Blocks) -> Tensor:
        scales = self.scales.read(layer, blocks)
        return self.numbers.read(layer, blocks).to(scales.dtype).mul_(scales)

    def clear(self, blocks: Tensor) -> None:
        self.numbers.clear(blocks)
        self.scales.clear(blocks)

    def copy(self, source: int, target: int) -> None:
        self.numbers.copy(source, target)
        self.scales.copy(source, target)


PAGES: dict[KVCache, Callable[[Sequence[int], Tensor], Pages]] = {
    "float32": PlainPages,
    "float16": partial(PlainPages, dtype=torch.float16),
    "int8": QuantisedPages,
}


class PagedMemory:
    """Keys and values of all sequences that a runner knows of.

    Args:
        config: of the model.
        like: a tensor of the model, for its type and place.
        kv_cache: how they are stored; see `fastest_runner`.
    """

    def __init__(
        self,
        config: TransformerConfig,
        blocks: int,
        block_size: int,
        like: Tensor,
        kv_cache: KVCache = "float32",
    ) -> None:
        heads, width, value_width = config.remembered
        shape = (config.layers, blocks, block_size, heads)
        like = like.detach()
        self.block_size, self.device = block_size, like.device
        self.windows, self.window = config.windows(config.layers), widest_window(config)
        self.keys: Pages = PAGES[kv_cache]([*shape, width], like)
        # Latent attention has no values: there is nothing to scale.
        self.values: Pages = PAGES[kv_cache if value_width else "float32"](
            [*shape, value_width], like
        )

    def span(self, chunk: Chunk) -> tuple[int, int]:
        """Where a chunk's tokens stand: from, and before."""
        return chunk.start, chunk.start + len(chunk.tokens)

    def seen(self, chunk: Chunk) -> slice:
        """Which of a chunk's blocks it looks at, in any layer."""
        first = blocks_behind(self.window, chunk.start, self.block_size)
        return slice(first, -(-self.span(chunk)[1] // self.block_size))

    def slots(self, chunk: Chunk) -> Int[Tensor, "tokens"]:
        """Where keys and values of a chunk's tokens are written."""
        positions = torch.arange(*self.span(chunk), device=self.device)
        blocks = torch.tensor(chunk.blocks, device=self.device)
        return blocks[positions // self.block_size] * self.block_size + positions % self.block_size

    def clear(self, chunks: Sequence[Chunk]) -> None:
        """Set the blocks that chunks begin to 0: others may have left there what is no number."""
        size = self.block_size
        begun = [
            chunk.blocks[place]
            for chunk in chunks
            for place in range(-(-chunk.start // size), -(-self.span(chunk)[1] // size))
        ]
        if begun:
            blocks = torch.tensor(begun, device=self.device)
            self.keys.clear(blocks)
            self.values.clear(blocks)

    def write(
        self,
        layer: int,
        slots: Int[Tensor, "tokens"],
        key: Float[Tensor, "tokens kv_heads width"],
        value: Float[Tensor, "tokens kv_heads value_width"],
    ) -> None:
        """Remember keys and values of tokens in a layer."""
        self.keys.write(layer, slots, key)
        self.values.write(layer, slots, value)

    def read(
        self, layer: int, blocks: Blocks
    ) -> tuple[
        Float[Tensor, "sequences kv_heads slots width"],
        Float[Tensor, "sequences kv_heads slots value_width"],
    ]:
        """Keys and values in so many blocks of each sequence."""
        key, value = (
            pages.read(layer, blocks).flatten(1, 2).transpose(1, 2)
            for pages in (self.keys, self.values)
        )
        return key, value

    def copy(self, source: int, target: int) -> None:
        """See `peluche.inference.runner.Runner.copy`."""
        self.keys.copy(source, target)
        self.values.copy(source, target)


class PagedState:
    """The memory of one sequence while a chunk is read; see `peluche.nn.state.KeyValueState`."""

    def __init__(self, memory: PagedMemory, chunk: Chunk) -> None:
        self.memory = memory
        self.written = memory.slots(chunk)
        self.length, seen = memory.span(chunk)[1], memory.seen(chunk)
        self.first = seen.start * memory.block_size
        self.blocks = find_blocks([chunk.blocks[seen]], memory.device)
        positions, slots = torch.arange(*memory.span(chunk)), torch.arange(self.first, self.length)
        self.masks = {
            window: prepare(causal(window), 1, positions.to(memory.device), slots.to(memory.device))
            for window in set(memory.windows)
        }

    def write(
        self,
        layer: int,
        positions: Int[Tensor, "length"],
        *,
        key: Float[Tensor, "1 kv_heads length width"],
        value: Float[Tensor, "1 kv_heads length value_width"],
    ) -> None:
        self.memory.write(layer, self.written, key[0].transpose(0, 1), value[0].transpose(0, 1))

    def slots(self, length: int) -> Tensor:
        return torch.arange(self.first, length, device=self.memory.device)

    def view(self, layer: int) -> View:
        key, value = self.memory.read(layer, self.blocks)
        mask, count = self.masks[self.memory.windows[layer]], self.length - self.first
        return View(key[:, :, :count], value[:, :, :count], mask)

    def select(self, rows: Int[Tensor, "kept"]) -> None:
        """Raises ValueError: sequences share blocks by their numbers."""
        raise ValueError("the memory of one sequence has no rows to select")

    def truncate(self, length: int) -> None:
        """Raises ValueError: what comes is written over what is to be forgotten."""
        raise ValueError("the memory of one chunk ends with it")
