"""What a model remembers between calls: keys and values of what it has read so far.

Models write to a state and attend to what `view` returns; they do not know which kind they hold.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from peluche.nn.masks import Causal, PreparedMask, prepare


class View(NamedTuple):
    """Everything remembered of one layer.

    Attributes:
        key, value: (rows, kv_heads, slots, width).
        mask: which slots each query may see; None for all of them.
    """

    key: Tensor
    value: Tensor
    mask: PreparedMask | None = None


@runtime_checkable
class State(Protocol):
    """The surface that all kinds of memory share."""

    def write(self, layer: int, positions: Tensor, *, key: Tensor, value: Tensor) -> None:
        """Remember keys and values (rows, kv_heads, T, width) of the tokens at `positions` (T,)."""

    def slots(self, length: int) -> Tensor:
        """Positions (slots,) of what `view` returns once `length` positions are written."""

    def view(self, layer: int) -> View:
        """What queries at the last written positions may attend to."""

    def select(self, rows: Tensor) -> None:
        """Keep, repeat or reorder rows (the hypotheses that survive)."""

    def truncate(self, length: int) -> None:
        """Forget all positions from `length` on."""


class StaticState:
    """Keys and values in tensors of fixed capacity, written in place.

    Args:
        layers: number of layers.
        rows: batch rows.
        kv_heads, width: shape of a key.
        capacity: the most positions that can be remembered.
    """

    def __init__(
        self,
        layers: int,
        rows: int,
        kv_heads: int,
        width: int,
        capacity: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (layers, rows, kv_heads, capacity, width)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.length = 0
        self.mask: PreparedMask | None = None

    def write(
        self,
        layer: int,
        positions: Int[Tensor, "length"],
        *,
        key: Float[Tensor, "rows kv_heads length width"],
        value: Float[Tensor, "rows kv_heads length width"],
    ) -> None:
        self.keys[layer].index_copy_(2, positions, key)
        self.values[layer].index_copy_(2, positions, value)
        if layer == 0:
            self.length = int(positions[-1]) + 1
            slots = self.slots(self.length)
            self.mask = prepare(Causal(), 1, positions, slots) if len(positions) > 1 else None

    def slots(self, length: int) -> Tensor:
        return torch.arange(length, device=self.keys.device)

    def view(self, layer: int) -> View:
        end = self.length
        return View(self.keys[layer, :, :, :end], self.values[layer, :, :, :end], self.mask)

    def select(self, rows: Int[Tensor, "kept"]) -> None:
        self.keys = self.keys.index_select(1, rows)
        self.values = self.values.index_select(1, rows)

    def truncate(self, length: int) -> None:
        self.length = min(self.length, length)
