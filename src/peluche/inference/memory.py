"""A memory of the past that beams share, and that forgets what no beam remembers."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

FIRST_ROOM = 32


class BeamMemory:
    """Keys and values of what the beams of each sentence have read, without copies per beam.

    All beams of a sentence write into one row of slots. `past` says which slots a beam descends
    from, and is all that moves when beams are reordered. Slots that no beam descends from any more
    are forgotten when the room is full; if that does not free half of it, the room is doubled.

    Attributes:
        pairs: (layers, sentences, room, kv), key and value side by side.
        past: (sentences, beams, room), True where a beam descends from a slot.
        positions: (sentences, room), where the token of a slot stands.
        used: slots in use, the same for all sentences.
        slots: those of the tokens that are being read.
    """

    def __init__(
        self, layers: int, sentences: int, beams: int, width: int, device: torch.device
    ) -> None:
        room = FIRST_ROOM
        self.pairs = torch.empty(layers, sentences, room, width, device=device)
        self.past = torch.zeros(sentences, beams, room, dtype=torch.bool, device=device)
        self.positions = torch.zeros(sentences, room, dtype=torch.int64, device=device)
        self.used = 0
        self.slots = slice(0, 0)

    def open(self, position: int) -> None:
        """Slots for one token of each beam; the first token is the same for all, and has one."""
        beams = self.past.shape[1]
        new = beams if position else 1
        if self.used + new > self.past.shape[2]:
            self._forget()
            if 2 * (self.used + new) > self.past.shape[2]:
                self._double()
        self.slots = slice(self.used, self.used + new)
        self.used += new
        own = torch.eye(beams, dtype=torch.bool, device=self.past.device)
        self.past[:, :, self.slots] = own if position else True
        self.positions[:, self.slots] = position

    def select(self, parents: Int[Tensor, "sentences beams"]) -> None:
        """`parents[s, b]`: which beam of sentence s continues as beam b."""
        past = self.past[:, :, : self.used]
        past.copy_(past.gather(1, parents[:, :, None].expand(-1, -1, self.used)))

    def keep(self, sentences: Int[Tensor, "kept"]) -> None:
        """Go on with these sentences only."""
        self.pairs = self.pairs.index_select(1, sentences)
        self.past = self.past[sentences]
        self.positions = self.positions[sentences]

    def _forget(self) -> None:
        """Move the slots that a beam descends from to the front, and give up the others."""
        remembered = self.past[:, :, : self.used].any(1)
        self.used = int(remembered.sum(1).max())
        order = remembered.byte().argsort(dim=1, descending=True, stable=True)[:, : self.used]
        sentences, room = self.positions.shape
        first = torch.arange(sentences, device=order.device)[:, None] * room
        rows = (order + first).flatten()
        for pairs in self.pairs:
            moved = pairs.flatten(0, 1).index_select(0, rows)
            pairs[:, : self.used] = moved.view(sentences, self.used, -1)
        self.positions[:, : self.used] = self.positions.gather(1, order)
        index = order[:, None].expand(-1, self.past.shape[1], -1)
        self.past[:, :, : self.used] = self.past.gather(2, index)

    def _double(self) -> None:
        self.pairs = torch.cat([self.pairs, torch.empty_like(self.pairs)], 2)
        self.past = torch.cat([self.past, torch.zeros_like(self.past)], 2)
        self.positions = torch.cat([self.positions, torch.zeros_like(self.positions)], 1)
