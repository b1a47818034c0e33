"""Reading with packed weights, and without computing at padding."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from peluche.inference.native.build import native_library
from peluche.inference.native.product import NativeMatrix
from peluche.inference.packed import Matrix, Pack, PackedStack, can_pack
from peluche.inference.runner import LEAST_PARAMETERS
from peluche.models.encoder import Encoder


def packs(model: Encoder) -> bool:
    """Whether `PackedEncoder` knows all parts of a model, and is faster: on a CPU."""
    cpu = next(model.parameters()).device.type == "cpu"
    return cpu and can_pack(model.config, "norm_input", "qkv_bias")


def fastest_pack(model: Encoder) -> Pack:
    """How to pack matrices: for the compiled operator where a model is worth compiling it for."""
    if sum(each.numel() for each in model.parameters()) >= LEAST_PARAMETERS:
        library = native_library()
        if library is not None:
            return partial(NativeMatrix, library)
    return Matrix.of


class PackedEncoder:
    """Copies of an encoder's weights at one moment, in the layout that products read fastest.

    Args:
        pack: how; `fastest_pack` unless given.
    """

    def __init__(self, model: Encoder, pack: Pack | None = None) -> None:
        self.stack = PackedStack.of(model.encoder, pack or fastest_pack(model))
        self.input_norm = copy.deepcopy(model.encoder.input_norm)
        first = None if model.segments is None else model.segments.weight[0].detach().clone()
        self.segment = first

    @torch.inference_mode()
    def hidden(self, texts: Sequence[Sequence[int]]) -> list[Float[Tensor, "length d_model"]]:
        """The vectors of each text's tokens; every text is of the first segment and not empty."""
        lengths = [len(text) for text in texts]
        longest, stack = max(lengths), self.stack
        tokens = torch.tensor(list(chain.from_iterable(texts)))
        own = torch.cat([torch.arange(length) for length in lengths])
        rows = F.embedding(tokens, stack.embedding)
        if self.segment is not None:
            rows += self.segment
        if stack.positions is not None:
            with stack.lock:
                rows += stack.positions(own)
        if self.input_norm is not None:
            rows = self.input_norm(rows)
        positions = torch.arange(longest)
        places = mask = None
        if len(rows) < len(texts) * longest:
            starts = torch.arange(len(texts)).repeat_interleave(torch.tensor(lengths)) * longest
            places = starts + own
            mask = (positions < torch.tensor(lengths)[:, None])[:, None, None]
        if stack.bias is not None:
            bias = stack.bias(positions, positions)
            mask = bias if mask is None else bias.masked_fill(~mask, -torch.inf)
        return list(stack.read(rows, len(texts), positions, mask, places).split(lengths))
