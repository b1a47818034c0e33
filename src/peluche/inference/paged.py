"""Keys and values in blocks of a fixed size, wherever there is room (Kwon et al. 2023, §4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from peluche.nn.masks import PreparedMask, causal, prepare
from peluche.nn.state import View


class Pages(Protocol):
    """Vectors of one kind, keys or values, of all layers: slot s is in block s // block_size."""

    def write(
        self, layer: int, slots: Int[Tensor, "rows"], rows: Float[Tensor, "rows kv_heads width"]
    ) -> None: ...

    def read(
        self, layer: int, blocks: Int[Tensor, "*shape"]
    ) -> Float[Tensor, "*shape block_size kv_heads width"]: ...

    def clear(self, blocks: Int[Tensor, "blocks"]) -> None: ...

    def copy(self, source: int, target: int) -> None: ...


class PlainPages:
    """As they are.

    Attributes:
        slots: (layers, blocks, block_size, kv_heads, width).
    """

    def __init__(self, shape: Sequence[int], like: Tensor) -> None:
        self.slots = like.new_zeros(shape)
        self.flat = self.slots.flatten(1, 2)

    def write(self, layer: int, slots: Tensor, rows: Tensor) -> None:
        self.flat[layer].index_copy_(0, slots, rows)

    def read(self, layer: int, blocks: Tensor) -> Tensor:
        found = self.slots[layer].index_select(0, blocks.flatten())
        return found.unflatten(0, blocks.shape)

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

    def read(self, layer: int, blocks: Tensor) -> Tensor:
        scales = self.scales.read(layer, blocks)
        return self.numbers.read(layer, blocks).to(scales.dtype).mul_(scales)

    def clear(self, blocks: Tensor) -> None:
        self.numbers.clear(blocks)
        self.scales.clear(blocks)

    def copy(self, source: int, target: int) -> None:
        self.numbers.copy(source, target)
        self.scales.copy(source, target)


class PagedState:
    """The memory of one sequence; see `peluche.nn.state.KeyValueState`.

    Args:
        keys, values: of all sequences.
        blocks: of this one, in order.
        windows: for each layer, how far queries see, None without end.
    """

    def __init__(
        self,
        keys: Pages,
        values: Pages,
        blocks: Int[Tensor, "blocks"],
        block_size: int,
        windows: Sequence[int | None],
    ) -> None:
        self.keys, self.values, self.blocks = keys, values, blocks
        self.block_size, self.windows = block_size, windows
        self.length = 0
        self.masks: dict[int | None, PreparedMask | None] = {}
        self.written = blocks[:0]

    def write(
        self,
        layer: int,
        positions: Int[Tensor, "length"],
        *,
        key: Float[Tensor, "1 kv_heads length width"],
        value: Float[Tensor, "1 kv_heads length value_width"],
    ) -> None:
        if layer == 0:
            size = self.block_size
            self.written = self.blocks[positions // size] * size + positions % size
            self.length = int(positions[-1]) + 1
            slots = self.slots(self.length)
            self.masks = {
                window: prepare(causal(window), 1, positions, slots) for window in set(self.windows)
            }
        self.keys.write(layer, self.written, key[0].transpose(0, 1))
        self.values.write(layer, self.written, value[0].transpose(0, 1))

    def slots(self, length: int) -> Tensor:
        return torch.arange(length, device=self.blocks.device)

    def view(self, layer: int) -> View:
        key, value = (
            pages.read(layer, self.blocks).flatten(0, 1)[: self.length].transpose(0, 1)[None]
            for pages in (self.keys, self.values)
        )
        return View(key, value, self.masks[self.windows[layer]])

    def select(self, rows: Int[Tensor, "kept"]) -> None:
        """Raises ValueError: sequences share blocks by their numbers, which `Scheduler` gives."""
        raise ValueError("a paged memory has no rows to select")

    def truncate(self, length: int) -> None:
        self.length = min(self.length, length)
