"""The block formats of GGUF: some numbers share a scale, and each is a few bits.

Layouts as in ggml's `ggml-quants.c`; tests compare them with the package `gguf`. In all of them the
low halves of bytes come before the high halves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.float32]
SMALL, LARGE = 32, 256


class Format(NamedTuple):
    """One way to keep numbers.

    Attributes:
        number: what the file calls it.
        name: what people call it.
        size: numbers of a block.
        bytes: of a block.
        read: blocks as bytes (blocks, bytes) to numbers (blocks, size).
        write: numbers to bytes; None where only reading is known.
    """

    number: int
    name: str
    size: int
    bytes: int
    read: Callable[[Bytes], Numbers]
    write: Callable[[Numbers], Bytes] | None = None


def _halves(blocks: Bytes, first: int, count: int = 1) -> Numbers:
    """float16 numbers at a place of each block, as float32 (blocks, count)."""
    part = np.ascontiguousarray(blocks[:, first : first + 2 * count])
    return part.view(np.float16).astype(np.float32)


def _nibbles(blocks: Bytes) -> Bytes:
    """(blocks, n) bytes to (blocks, 2·n) half bytes, all low ones first."""
    return np.concatenate([blocks & 15, blocks >> 4], axis=1)


def _bits(blocks: Bytes, first: int) -> Bytes:
    """The 32 bits of four bytes, (blocks, 32) of 0 and 1."""
    return np.unpackbits(blocks[:, first : first + 4], axis=1, bitorder="little")


def _plain(kind: str) -> tuple[Callable[[Bytes], Numbers], Callable[[Numbers], Bytes]]:
    def read(blocks: Bytes) -> Numbers:
        return np.ascontiguousarray(blocks).view(kind).astype(np.float32)

    def write(numbers: Numbers) -> Bytes:
        return np.ascontiguousarray(numbers.astype(kind)).view(np.uint8)

    return read, write


def _read_bf16(blocks: Bytes) -> Numbers:
    high = np.ascontiguousarray(blocks).view("<u2").astype(np.uint32) << 16
    return high.view(np.float32)


def _read_q4_0(blocks: Bytes) -> Numbers:
    return _halves(blocks, 0) * (_nibbles(blocks[:, 2:]).astype(np.float32) - 8)


def _write_q4_0(numbers: Numbers) -> Bytes:
    largest = np.take_along_axis(numbers, np.abs(numbers).argmax(1)[:, None], axis=1)
    scale = largest / np.float32(-8)
    steps = np.where(scale == 0, 0, numbers / np.where(scale == 0, 1, scale))
    levels = np.clip(np.floor(steps + 8.5), 0, 15).astype(np.uint8)
    half = SMALL // 2
    packed = levels[:, :half] | (levels[:, half:] << 4)
    return np.concatenate([scale.astype("<f2").view(np.uint8), packed], axis=1)


def _read_q4_1(blocks: Bytes) -> Numbers:
    return _halves(blocks, 0) * _nibbles(blocks[:, 4:]) + _halves(blocks, 2)


def _read_q5_0(blocks: Bytes) -> Numbers:
    levels = _nibbles(blocks[:, 6:]) | (_bits(blocks, 2) << 4)
    return _halves(blocks, 0) * (levels.astype(np.float32) - 16)


def _read_q5_1(blocks: Bytes) -> Numbers:
    levels = _nibbles(blocks[:, 8:]) | (_bits(blocks, 4) << 4)
    return _halves(blocks, 0) * levels + _halves(blocks, 2)


def _read_q8_0(blocks: Bytes) -> Numbers:
    return _halves(blocks, 0) * blocks[:, 2:].view(np.int8)


def _write_q8_0(numbers: Numbers) -> Bytes:
    scale = np.abs(numbers).max(1, keepdims=True) / np.float32(127)
    steps = numbers / np.where(scale == 0, 1, scale)
    # Halves go away from zero, as in C's roundf.
    levels = np.trunc(steps + np.copysign(np.float32(0.5), steps)).astype(np.int8)
    return np.concatenate([scale.astype("<f2").view(np.uint8), levels.view(np.uint8)], axis=1)


def _scaled(levels: NDArray[np.generic], scales: Numbers, low: Numbers | None = None) -> Numbers:
    """Levels (blocks, 256) in groups that each have a scale and perhaps a lowest value."""
    blocks, groups = scales.shape
    numbers = levels.reshape(blocks, groups, -1).astype(np.float32) * scales[:, :, None]
    if low is not None:
        numbers -= low[:, :, None]
    return numbers.reshape(blocks, LARGE)


def _pairs(levels: Bytes, shifts: tuple[int, ...], width: int, mask: int) -> Bytes:
    """Rows of `width` bytes, each shifted in turn, (blocks, rows, shifts, width) flattened."""
    rows = levels.reshape(len(levels), -1, 1, width)
    shift = np.array(shifts, dtype=np.uint8)[None, None, :, None]
    return ((rows >> shift) & np.uint8(mask)).reshape(len(levels), -1)


def _read_q2_k(blocks: Bytes) -> Numbers:
    packed, levels = blocks[:, :16], blocks[:, 16:80]
    scales = _halves(blocks, 80) * (packed & 15)
    return _scaled(_pairs(levels, (0, 2, 4, 6), 32, 3), scales, _halves(blocks, 82) * (packed >> 4))


def _read_q3_k(blocks: Bytes) -> Numbers:
    high, low, packed = blocks[:, :32], blocks[:, 32:96], blocks[:, 96:108]
    four = np.concatenate([packed[:, :8] & 15, packed[:, :8] >> 4], axis=1)
    two = _pairs(packed[:, 8:], (0, 2, 4, 6), 4, 3)
    scales = (four | (two << 4)).astype(np.int8) - 32
    bit = _pairs(high, tuple(range(8)), 32, 1)
    levels = _pairs(low, (0, 2, 4, 6), 32, 3).astype(np.int8) - 4 * (1 - bit.astype(np.int8))
    return _scaled(levels, _halves(blocks, 108) * scales)


def _six_bits(packed: Bytes) -> tuple[Bytes, Bytes]:
    """Scales and lowest values of eight groups, six bits each, in twelve bytes."""
    first, second, rest = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([first & 63, (rest & 15) | ((first >> 6) << 4)], axis=1)
    lows = np.concatenate([second & 63, (rest >> 4) | ((second >> 6) << 4)], axis=1)
    return scales, lows


def _read_q4_k(blocks: Bytes) -> Numbers:
    scales, lows = _six_bits(blocks[:, 4:16])
    levels = _pairs(blocks[:, 16:], (0, 4), 32, 15)
    return _scaled(levels, _halves(blocks, 0) * scales, _halves(blocks, 2) * lows)


def _read_q5_k(blocks: Bytes) -> Numbers:
    scales, lows = _six_bits(blocks[:, 4:16])
    levels = _pairs(blocks[:, 48:], (0, 4), 32, 15)
    levels |= _pairs(blocks[:, 16:48], tuple(range(8)), 32, 1) << 4
    return _scaled(levels, _halves(blocks, 0) * scales, _halves(blocks, 2) * lows)


def _read_q6_k(blocks: Bytes) -> Numbers:
    low = _pairs(blocks[:, :128], (0, 4), 64, 15)
    high = _pairs(blocks[:, 128:192], (0, 2, 4, 6), 32, 3)
    levels = (low | (high << 4)).astype(np.int8) - 32
    return _scaled(levels, _halves(blocks, 208) * blocks[:, 192:208].view(np.int8))


FORMATS = {
    format.number: format
    for format in (
        Format(0, "F32", 1, 4, *_plain("<f4")),
        Format(1, "F16", 1, 2, *_plain("<f2")),
        Format(2, "Q4_0", SMALL, 18, _read_q4_0, _write_q4_0),
        Format(3, "Q4_1", SMALL, 20, _read_q4_1),
        Format(6, "Q5_0", SMALL, 22, _read_q5_0),
        Format(7, "Q5_1", SMALL, 24, _read_q5_1),
        Format(8, "Q8_0", SMALL, 34, _read_q8_0, _write_q8_0),
        Format(10, "Q2_K", LARGE, 84, _read_q2_k),
        Format(11, "Q3_K", LARGE, 110, _read_q3_k),
        Format(12, "Q4_K", LARGE, 144, _read_q4_k),
        Format(13, "Q5_K", LARGE, 176, _read_q5_k),
        Format(14, "Q6_K", LARGE, 210, _read_q6_k),
        Format(30, "BF16", 1, 2, _read_bf16),
    )
}
NAMES = {format.name: format for format in FORMATS.values()}
