"""What a model remembers between calls of what it has read so far.

Keys and values for attention, which do not know which kind of state holds them; the newest vectors
for recurrent models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from peluche.nn.masks import PreparedMask, causal, prepare


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
    """The surface that all kinds of memory share: what searches do with them.

    What is written and viewed is a family's own; see `KeyValueState` and `RecurrentState`.
    """

    def select(self, rows: Tensor) -> None:
        """Keep, repeat or reorder rows (the hypotheses that survive)."""

    def truncate(self, length: int) -> None:
        """Forget all positions from `length` on."""


@runtime_checkable
class KeyValueState(State, Protocol):
    """What attention remembers."""

    def write(self, layer: int, positions: Tensor, *, key: Tensor, value: Tensor) -> None:
        """Remember keys and values (rows, kv_heads, T, width) of the tokens at `positions` (T,)."""

    def slots(self, length: int) -> Tensor:
        """Positions (slots,) of what `view` returns once `length` positions are written."""

    def view(self, layer: int) -> View:
        """What queries at the last written positions may attend to."""


class StaticState:
    """Keys and values in tensors of fixed capacity, written in place.

    Args:
        layers: number of layers.
        rows: batch rows.
        kv_heads, width: shape of a key.
        capacity: the most positions that can be remembered.
        value_width: of a value; as a key's unless given.
        windows: for each layer, how far queries see, None without end; all without end unless
            given.
    """

    def __init__(
        self,
        layers: int,
        rows: int,
        kv_heads: int,
        width: int,
        capacity: int,
        *,
        value_width: int | None = None,
        windows: Sequence[int | None] = (),
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (layers, rows, kv_heads, capacity)
        self.keys = torch.zeros(*shape, width, dtype=dtype, device=device)
        self.values = torch.zeros(
            *shape, width if value_width is None else value_width, dtype=dtype, device=device
        )
        self.windows = tuple(windows) or (None,) * layers
        self.length = 0
        self.masks: dict[int | None, PreparedMask | None] = {}

    def write(
        self,
        layer: int,
        positions: Int[Tensor, "length"],
        *,
        key: Float[Tensor, "rows kv_heads length width"],
        value: Float[Tensor, "rows kv_heads length value_width"],
    ) -> None:
        self.keys[layer].index_copy_(2, positions, key)
        self.values[layer].index_copy_(2, positions, value)
        if layer == 0:
            self.length = int(positions[-1]) + 1
            slots = self.slots(self.length)
            self.masks = {
                window: prepare(causal(window), 1, positions, slots)
                if len(positions) > 1 or (window is not None and window < self.length)
                else None
                for window in set(self.windows)
            }

    def slots(self, length: int) -> Tensor:
        return torch.arange(length, device=self.keys.device)

    def view(self, layer: int) -> View:
        end, mask = self.length, self.masks[self.windows[layer]]
        return View(self.keys[layer, :, :, :end], self.values[layer, :, :, :end], mask)

    def select(self, rows: Int[Tensor, "kept"]) -> None:
        self.keys = self.keys.index_select(1, rows)
        self.values = self.values.index_select(1, rows)

    def truncate(self, length: int) -> None:
        self.length = min(self.length, length)


class RecurrentState:
    """Named tensors (..., rows, width), of which a model needs the newest only.

    Older ones are kept as they were written, with the order that rows had since, so that `truncate`
    can go back and `select` stays cheap.

    Args:
        tensors: what is remembered before anything is read.

    Attributes:
        back: how many positions `truncate` may go back; None for all of them.
    """

    def __init__(self, **tensors: Tensor) -> None:
        self.history = [tensors]
        self.orders: list[Tensor | None] = [None]
        self.back: int | None = None
        self.dropped = 0

    @property
    def length(self) -> int:
        """Positions written."""
        return self.dropped + len(self.history) - 1

    def write(self, positions: Int[Tensor, "length"], **tensors: Tensor) -> None:
        """Remember what there is after one more position.

        Raises:
            ValueError: `positions` is not the next one.
        """
        if positions.tolist() != [self.length]:
            raise ValueError(f"position {self.length} is next, not {positions.tolist()}")
        self.history.append(tensors)
        self.orders.append(None)
        if self.back is not None and len(self.history) > self.back + 1:
            del self.history[0], self.orders[0]
            self.dropped += 1

    def view(self) -> dict[str, Tensor]:
        """The newest tensors."""
        return self.history[-1]

    def select(self, rows: Int[Tensor, "kept"]) -> None:
        self.history[-1] = {
            name: tensor.index_select(-2, rows) for name, tensor in self.history[-1].items()
        }
        order = self.orders[-1]
        self.orders[-1] = rows if order is None else order[rows]

    def truncate(self, length: int) -> None:
        """Raises ValueError: that is further than `back`."""
        if length < self.dropped:
            raise ValueError(f"positions before {self.dropped} are kept no longer, not {length}")
        while self.length > length:
            self.history.pop()
            order = self.orders.pop()
            if order is not None:
                self.select(order)
