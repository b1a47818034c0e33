"""Words and their neighbours, drawn from a piece of a corpus."""

from __future__ import annotations

from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from peluche.config import Config
from peluche.data.token_stream import BREAK, TokenChunk


class WindowConfig(Config):
    """What counts as a neighbour (Mikolov et al. 2013, arXiv 1301.3781 §3 and 1310.4546 §2.3).

    Attributes:
        size: words on either side.
        dynamic: draw the size anew for each word, from 1 to `size`, so that near words count more.
        subsample: skip occurrences of words whose share of the text is over this, the more the more
            frequent they are; 0 skips none.
    """

    size: int = Field(5, gt=0)
    dynamic: bool = True
    subsample: float = Field(1e-3, ge=0, lt=1)


class Windows(NamedTuple):
    """Words with neighbours.

    Attributes:
        centers: (N,) words.
        contexts: (N, 2·size) the words around each.
        valid: (N, 2·size) which of them are its neighbours; one at least.
    """

    centers: Tensor
    contexts: Tensor
    valid: Tensor


def draw_windows(chunk: TokenChunk, config: WindowConfig, keep: Tensor) -> Windows:
    """The windows of a chunk, the same each time for the same chunk.

    Args:
        keep: (V,) how likely an occurrence of each word is read.
    """
    random = torch.Generator().manual_seed(chunk.seed % 2**63)
    tokens, device = chunk.tokens.long(), chunk.tokens.device
    texts = (tokens == BREAK).cumsum(0)
    drawn = torch.rand(len(tokens), generator=random).to(device)
    kept = (tokens != BREAK) & (drawn < keep[tokens.clamp(min=0)])
    words, texts = tokens[kept], texts[kept]
    reach = torch.full_like(words, config.size)
    if config.dynamic:
        reach = torch.randint(1, config.size + 1, (len(words),), generator=random).to(device)
    offsets = torch.arange(-config.size, config.size + 1, device=device)
    offsets = offsets[offsets != 0]
    places = torch.arange(len(words), device=device)[:, None] + offsets
    inside = (places >= 0) & (places < len(words))
    places = places.clamp(0, max(0, len(words) - 1))
    valid = inside & (texts[places] == texts[:, None]) & (offsets.abs() <= reach[:, None])
    some = valid.any(1)
    return Windows(words[some], words[places[some]], valid[some])
