"""Readers of embedded tokens: each token's vector after its sentence has been read.

Recurrent, convolutional, Transformer, or none at all (a bag of words, to compare them with). All
share one surface: `forward(embedded, valid)`, `width` and `directions`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from peluche.nn.masks import Padding, prepare
from peluche.nn.recurrent import Recurrent
from peluche.nn.stack import Stack


class Reader(nn.Module):
    """From embedded tokens to one vector per token that knows its sentence.

    Attributes:
        width: of what is given per token.
        directions: 2 if the second half of it was read backwards.
    """

    width: int
    directions: int = 1

    def forward(
        self, embedded: Float[Tensor, "batch length inputs"], valid: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length width"]:
        """Vectors of the tokens; what stands at padding has no meaning."""
        raise NotImplementedError


class RecurrentReader(Reader):
    """Recurrent layers, in one direction or both."""

    def __init__(self, recurrent: Recurrent) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.width, self.directions = recurrent.outputs, recurrent.directions

    def forward(self, embedded: Tensor, valid: Tensor) -> Tensor:
        hidden, _ = self.recurrent(embedded, valid)
        return hidden


class ConvolutionalReader(Reader):
    """Convolutions of several widths side by side (Kim 2014). Padding reads as zeros.

    Args:
        inputs: width of what is read.
        filters: per width of convolution.
        widths: in tokens.
    """

    def __init__(self, inputs: int, filters: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.convolutions = nn.ModuleList(nn.Conv1d(inputs, filters, width) for width in widths)
        self.width = filters * len(widths)

    def forward(self, embedded: Tensor, valid: Tensor) -> Tensor:
        read = (embedded * valid[:, :, None]).transpose(1, 2)
        features = []
        for width, convolution in zip(self.widths, self.convolutions, strict=True):
            around = F.pad(read, ((width - 1) // 2, width // 2))
            features.append(torch.relu(convolution(around)))
        return torch.cat(features, 1).transpose(1, 2)


class TransformerReader(Reader):
    """A Transformer's encoder.

    Args:
        stack: without an embedding of its own.
        inputs, width: of what is read and of the stack; if they differ, it is projected.
    """

    def __init__(self, stack: Stack, inputs: int, width: int) -> None:
        super().__init__()
        self.project = nn.Identity() if inputs == width else nn.Linear(inputs, width)
        self.stack, self.width = stack, width

    def forward(self, embedded: Tensor, valid: Tensor) -> Tensor:
        positions = torch.arange(embedded.shape[1], device=embedded.device)
        mask = prepare(Padding(valid), len(embedded), positions[:1], positions)
        return self.stack(self.project(embedded) * self.stack.scale, positions, mask)


class BagReader(Reader):
    """Every token by itself."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.width = inputs

    def forward(self, embedded: Tensor, valid: Tensor) -> Tensor:
        return embedded
