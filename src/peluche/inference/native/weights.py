"""A model's matrices in the layout that the C++ operator reads; see `linear.h`."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

Format = Literal["float32", "float16", "int8", "int4"]
FORMATS: tuple[Format, ...] = ("float32", "float16", "int8", "int4")
LANES, BLOCK, GROUP = 16, 32, 4
# Bytes of 32 weights and their scales, at most: "auto" may turn out to be eight bits.
BLOCK_BYTES = {"float32": 128, "float16": 64, "int8": 34, "int4": 20, "auto": 34}
# Weights that were once rounded to four bits come back from it as they were, but for what the
# scales are rounded by; others lose fifty times as much.
SAME = 1e-3
# Outputs that are packed at a time: what that needs is many times their size.
SLICE = 1024


class Matrix(ctypes.Structure):
    """As in `linear.h`; sizes are whole blocks."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("format", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
    )


class Packed(NamedTuple):
    """A matrix of (outputs, inputs), whole blocks, as bytes."""

    data: UInt8[Tensor, "bytes"]
    format: Format
    outputs: int
    inputs: int

    def at(self, address: int) -> Matrix:
        """How the operator is told where it is; it has no bias yet."""
        return Matrix(address, None, FORMATS.index(self.format), self.outputs, self.inputs)


def padded(size: int, of: int = BLOCK) -> int:
    """A size, up to the next multiple."""
    return -(-size // of) * of


def whole_blocks(weight: Float[Tensor, "outputs inputs"]) -> Float[Tensor, "padded_out padded_in"]:
    """With zeros added, so that both sizes are whole blocks."""
    outputs, inputs = weight.shape
    return F.pad(weight.float(), (0, padded(inputs) - inputs, 0, padded(outputs) - outputs))


def packed_bytes(outputs: int, inputs: int, format: Format | Literal["auto"]) -> int:
    """What `pack` makes of a matrix of this shape, at most."""
    return padded(outputs) * padded(inputs) // BLOCK * BLOCK_BYTES[format]


def pack(weight: Float[Tensor, "outputs inputs"], format: Format | Literal["auto"]) -> Packed:
    """A matrix in a format.

    Args:
        format: "auto" is four bits where that changes nothing, since the weights come from a file
            with as many, and else eight.
    """
    if format == "auto":
        format = "int4" if _fits_four_bits(weight) else "int8"
    outputs, inputs = map(padded, weight.shape)
    data = torch.empty(packed_bytes(outputs, inputs, format), dtype=torch.uint8)
    places = data.split(packed_bytes(SLICE, inputs, format))
    for place, each in zip(places, weight.split(SLICE), strict=True):
        place.copy_(PACKERS[format](whole_blocks(each)).view(torch.uint8).flatten())
    return Packed(data, format, outputs, inputs)


def _fits_four_bits(weight: Tensor) -> bool:
    """Whether that changes next to nothing."""
    error = size = 0.0
    for each in map(whole_blocks, weight.split(SLICE)):
        levels, scale, least = _four_bits(each)
        back = torch.addcmul(least, levels, scale)
        error += float(torch.linalg.vector_norm(back.view_as(each) - each)) ** 2
        size += float(torch.linalg.vector_norm(each)) ** 2
    return not error > SAME**2 * size


def _panels(values: Tensor, size: int) -> Tensor:
    """(outputs, inputs) to (panels, inputs / size, 16, size)."""
    outputs, inputs = values.shape
    cut = values.view(outputs // LANES, LANES, inputs // size, size)
    return cut.transpose(1, 2).contiguous()


def _half_bytes(values: Tensor, outputs: int) -> Tensor:
    """A value for each block, (outputs · blocks, 1), to bytes (panels, blocks, 32)."""
    return _panels(values.view(outputs, -1).half(), 1).view(torch.uint8).flatten(2)


def _int8(weight: Tensor) -> Tensor:
    """As GGUF's Q8_0; levels are stored with 128 added."""
    outputs = len(weight)
    blocks = weight.view(-1, BLOCK)
    scale = blocks.abs().amax(1, keepdim=True) / 127
    levels = (blocks / scale.clamp(min=1e-30)).round().add_(128).to(torch.uint8)
    grouped = _panels(levels.view(outputs, -1), GROUP)
    body = grouped.view(outputs // LANES, -1, BLOCK // GROUP * LANES * GROUP)
    return torch.cat([body, _half_bytes(scale, outputs)], 2)


def _four_bits(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As GGUF's Q4_1: levels (blocks, 32), and of each block scale and minimum."""
    blocks = weight.view(-1, BLOCK)
    least, most = blocks.aminmax(dim=1, keepdim=True)
    scale = ((most - least) / 15).half().float()
    least = least.half().float()
    levels = ((blocks - least) / scale.clamp(min=1e-30)).round_().clamp_(0, 15)
    return levels, scale, least


def _int4(levels: Tensor, scale: Tensor, least: Tensor, outputs: int) -> Tensor:
    grouped = _panels(levels.to(torch.uint8).view(outputs, -1), GROUP)
    halves = grouped.view(outputs // LANES, -1, 2, BLOCK // GROUP // 2 * LANES * GROUP)
    body = halves[:, :, 0] | (halves[:, :, 1] << 4)
    return torch.cat([body, _half_bytes(scale, outputs), _half_bytes(least, outputs)], 2)


PACKERS: dict[Format, Callable[[Tensor], Tensor]] = {
    "float32": lambda weight: _panels(weight, 1),
    "float16": lambda weight: _panels(weight.half(), 1),
    "int8": _int8,
    "int4": lambda weight: _int4(*_four_bits(weight), len(weight)),
}


class Store:
    """Memory for packed matrices in one piece, of large pages where the system has them.

    Args:
        size: bytes that are needed at most; what is not used is not taken.
    """

    def __init__(self, size: int) -> None:
        self.memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            self.memory.madvise(mmap.MADV_HUGEPAGE)
        self.bytes = torch.frombuffer(self.memory, dtype=torch.uint8)
        self.used = 0

    def keep(self, packed: Packed) -> Matrix:
        """Copy a matrix to here."""
        at = self.bytes[self.used : self.used + len(packed.data)]
        at.copy_(packed.data)
        self.used += padded(len(packed.data), 64)
        return packed.at(at.data_ptr())


def interleaved(weights: Sequence[Tensor]) -> Tensor:
    """Rows of matrices of one shape, 16 of each in turn."""
    whole = [F.pad(weight, (0, 0, 0, padded(len(weight)) - len(weight))) for weight in weights]
    panels = [weight.view(-1, LANES, weight.shape[1]) for weight in whole]
    return torch.stack(panels, 1).flatten(0, 2)
