"""From the characters of a word to one vector."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


class CharacterConvolution(nn.Module):
    """Convolutions over a word's characters, the largest value of each (Ma & Hovy 2016, §2.1).

    Padding is number 0 and reads as zeros; a word is read with padding around it, so that what
    stands at its ends is seen as standing there.

    Args:
        characters: how many numbers of characters there are.
        embedding: their width.
        filters: per width of convolution.
        widths: in characters.
    """

    def __init__(
        self, characters: int, *, embedding: int, filters: int, widths: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, embedding)
        bound = (3 / embedding) ** 0.5
        nn.init.uniform_(self.embedding.weight, -bound, bound)
        self.widths = widths
        self.convolutions = nn.ModuleList(nn.Conv1d(embedding, filters, width) for width in widths)
        self.width = filters * len(widths)

    def forward(self, spellings: Int[Tensor, "words characters"]) -> Float[Tensor, "words width"]:
        """One vector per word, whatever padding follows its characters."""
        read = (self.embedding(spellings) * (spellings != 0)[:, :, None]).transpose(1, 2)
        found = []
        for width, convolution in zip(self.widths, self.convolutions, strict=True):
            responses = torch.tanh(convolution(F.pad(read, (width - 1, width - 1))))
            # A place is real if it sees a character: padding after a word adds no place to it.
            ends = (spellings != 0).sum(1) + width - 1
            places = torch.arange(responses.shape[2], device=spellings.device)
            real = places < ends[:, None]
            found.append(responses.masked_fill(~real[:, None], -torch.inf).amax(2))
        return torch.cat(found, 1)
