"""What all batches share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """A record of tensors, of which some may be None."""

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""
        moved = {
            name: value.to(device, non_blocking=True)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved)

    @classmethod
    def join(cls, batches: Sequence[Self]) -> Self:
        """The rows of all, which are equally wide."""
        columns = zip(*(vars(batch).values() for batch in batches), strict=True)
        return cls(*(None if column[0] is None else torch.cat(column) for column in columns))
