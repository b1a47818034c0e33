"""A memory of the past that beams share, and that forgets what no beam remembers."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from peluche.inference.packed import LEAST_SLOTS

FIRST_ROOM = 64


class BeamMemory:
    """Keys and values of what the beams of each sentence have read, without copies per beam.

    All beams of a sentence write into one row of slots. `past` says which slots a beam descends
    from, and is all that moves when beams are reordered. Slots that no beam descends from any more
    are forgotten when the room is full; if that does not free half of it, the room is doubled.

    Attributes:
        keys_values: (layers, 2, room, sentences, kv_heads, width).
        past: (sentences, beams, room), True where a beam descends from a slot.
        positions: (sentences, room), where the token of a slot stands.
        used: slots in use, the same for all sentences.
        slots: those of the tokens that are being read.
    """

    def __init__(
        self, layers: int, beams: int, like: Float[Tensor, "any sentences kv_heads width"]
    ) -> None:
        room = max(FIRST_ROOM, LEAST_SLOTS)
        self.keys_values = like.new_empty((layers, 2, room, *like.shape[1:]))
        # Slots that are shown before they are used have to hold numbers.
        self.keys_values[:, :, :LEAST_SLOTS] = 0.0
        self.past = like.new_zeros((like.shape[1], beams, room), dtype=torch.bool)
        self.positions = like.new_zeros((like.shape[1], room), dtype=torch.int64)
        self.used = 0
        self.slots = slice(0, 0)

    @property
    def room(self) -> int:
        return self.positions.shape[1]

    @property
    def shown(self) -> int:
        """How many slots `write` returns; of those not in use, `past` is False."""
        return max(self.used, LEAST_SLOTS)

    def open(self, position: int) -> None:
        """Slots for one token of each beam; the first token is the same for all, and has one."""
        beams = self.past.shape[1]
        new = beams if position else 1
        if self.used + new > self.room:
            self._forget()
            if 2 * (self.used + new) > self.room:
                self._double()
        self.slots = slice(self.used, self.used + new)
        self.used += new
        own = torch.eye(beams, dtype=torch.bool, device=self.past.device)
        self.past[:, :, self.slots] = own if position else True
        self.positions[:, self.slots] = position

    def write(
        self,
        layer: int,
        key: Float[Tensor, "sentences kv_heads beams width"],
        value: Float[Tensor, "sentences kv_heads beams width"],
    ) -> tuple[Tensor, Tensor]:
        """Fill the open slots of a layer; keys and values so far, (shown, sentences, …)."""
        keys, values = self.keys_values[layer]
        keys[self.slots], values[self.slots] = key.permute(2, 0, 1, 3), value.permute(2, 0, 1, 3)
        return keys[: self.shown], values[: self.shown]

    def select(self, parents: Int[Tensor, "sentences beams"]) -> None:
        """`parents[s, b]`: which beam of sentence s continues as beam b."""
        past = self.past[:, :, : self.used]
        past.copy_(past.gather(1, parents[:, :, None].expand(-1, -1, self.used)))

    def keep(self, sentences: Int[Tensor, "kept"]) -> None:
        """Go on with these sentences only."""
        self._move(self.keys_values[:, :, : self.shown].index_select(3, sentences), self.room)
        self.past = self.past[sentences]
        self.positions = self.positions[sentences]

    def _forget(self) -> None:
        """Move the slots that a beam descends from to the front, and give up the others."""
        remembered = self.past[:, :, : self.used].any(1)
        self.used = int(remembered.sum(1).max())
        order = remembered.byte().argsort(dim=1, descending=True, stable=True)[:, : self.used]
        sentences = len(order)
        rows = order.t() * sentences + torch.arange(sentences, device=order.device)
        for part in self.keys_values.flatten(0, 1):
            moved = part.flatten(0, 1).index_select(0, rows.flatten())
            part[: self.used] = moved.view(self.used, *part.shape[1:])
        self.positions[:, : self.used] = self.positions.gather(1, order)
        index = order[:, None].expand(-1, self.past.shape[1], -1)
        self.past[:, :, : self.used] = self.past.gather(2, index)
        self.past[:, :, self.used :] = False

    def _double(self) -> None:
        self._move(self.keys_values[:, :, : self.shown], 2 * self.room)
        self.past = torch.cat([self.past, torch.zeros_like(self.past)], 2)
        self.positions = torch.cat([self.positions, torch.zeros_like(self.positions)], 1)

    def _move(self, kept: Tensor, room: int) -> None:
        """Keys and values into new memory with so much room."""
        layers, two, shown, *shape = kept.shape
        self.keys_values = kept.new_empty((layers, two, room, *shape))
        self.keys_values[:, :, :shown] = kept
