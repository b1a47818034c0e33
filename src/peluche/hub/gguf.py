"""GGUF files, as llama.cpp reads and writes them: metadata, and tensors in one of many formats.

Nothing that a file says about itself is believed before it is checked against the file's size.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from peluche.errors import CheckpointError, ConfigError
from peluche.hub.gguf_blocks import FORMATS, NAMES, Format

MAGIC, VERSIONS, ALIGNMENT = b"GGUF", (2, 3), 32
MOST_DIMENSIONS, MOST_NESTED = 4, 4
STRING, ARRAY = 8, 9
# Numbers of the file's types of plain values.
PLAIN = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q"}
PLAIN |= {12: "<d"}
# Numbers that are read at a time, so that what they are made of is small, and in the cache.
PIECE = 1 << 18
BOOL, INT32, UINT32, FLOAT32 = 7, 5, 4, 6


class TensorInfo(NamedTuple):
    """Where a tensor lies.

    Attributes:
        shape: as in torch, the outermost dimension first.
        offset: of its first byte in the file.
    """

    shape: tuple[int, ...]
    format: Format
    offset: int

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) // self.format.size * self.format.bytes


class GGUFFile:
    """A GGUF file, its head read. Tensors are read when they are asked for.

    Attributes:
        metadata: values by key.
        tensors: by name.

    Raises:
        CheckpointError: it is absent, truncated, or not such a file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as stream:
                head = _Head(stream, os.fstat(stream.fileno()).st_size)
                self.metadata, self.tensors = head.read()
        except OSError as error:
            raise _broken(path, f"it cannot be read: {error}") from None
        except (ValueError, struct.error, OverflowError, MemoryError) as error:
            raise _broken(path, str(error)) from None

    def tensor(self, name: str) -> Tensor:
        """A tensor as float32, in torch's memory.

        Raises:
            CheckpointError: there is none of this name, or the file became shorter.
        """
        if name not in self.tensors:
            raise _broken(self.path, f"it has no tensor '{name}'")
        info = self.tensors[name]
        size, block = info.format.size, info.format.bytes
        numbers = torch.empty(info.shape)
        blocks = numbers.numpy().reshape(numbers.numel() // size, size)
        with self.path.open("rb") as stream:
            stream.seek(info.offset)
            for start in range(0, len(blocks), PIECE // size):
                piece = blocks[start : start + PIECE // size]
                data = np.fromfile(stream, dtype=np.uint8, count=len(piece) * block)
                if len(data) < len(piece) * block:
                    raise _broken(self.path, f"tensor '{name}' is cut off")
                piece[:] = info.format.read(data.reshape(-1, block))
        return numbers


class _Head:
    """Reads what stands before the tensors."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.stream, self.size = stream, size

    def read(self) -> tuple[dict[str, Any], dict[str, TensorInfo]]:
        if self.stream.read(4) != MAGIC:
            raise ValueError("it does not begin with GGUF")
        version = self._plain("<I")
        if version not in VERSIONS:
            raise ValueError(f"it has version {version}; known are {VERSIONS[0]} and {VERSIONS[1]}")
        tensors, values = self._count(24), self._count(12)
        metadata = {}
        for _ in range(values):
            key = self._string()
            metadata[key] = self._value(self._plain("<I"))
        described = [self._describe() for _ in range(tensors)]
        alignment = metadata.get("general.alignment", ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1:
            raise ValueError(f"its alignment is {alignment!r}")
        start = -(-self.stream.tell() // alignment) * alignment
        found = {}
        for name, shape, kind, offset in described:
            if kind not in FORMATS:
                raise ValueError(
                    f"tensor '{name}' is in format {kind}; known are {', '.join(NAMES)}"
                )
            format = FORMATS[kind]
            if shape and shape[-1] % format.size:
                raise ValueError(f"tensor '{name}' has rows of {shape[-1]}, not of whole blocks")
            info = TensorInfo(shape, format, start + offset)
            if info.offset + info.bytes > self.size:
                raise ValueError(f"tensor '{name}' ends after the file does; it was cut off")
            found[name] = info
        return metadata, found

    def _describe(self) -> tuple[str, tuple[int, ...], int, int]:
        name, dimensions = self._string(), self._plain("<I")
        if dimensions > MOST_DIMENSIONS:
            raise ValueError(f"tensor '{name}' has {dimensions} dimensions")
        shape = tuple(self._plain("<Q") for _ in range(dimensions))
        return name, shape[::-1], self._plain("<I"), self._plain("<Q")

    def _plain(self, kind: str) -> Any:
        return struct.unpack(kind, self._bytes(struct.calcsize(kind)))[0]

    def _count(self, least: int) -> int:
        """A number of things that take at least so many bytes each."""
        count = self._plain("<Q")
        if count * least > self.size:
            raise ValueError(f"it says that it has {count:,} entries, more than fit in it")
        return int(count)

    def _bytes(self, count: int) -> bytes:
        if count > self.size:
            raise ValueError(f"it has an entry of {count:,} bytes, more than there are")
        data = self.stream.read(count)
        if len(data) < count:
            raise ValueError("it ends in its head; it was cut off")
        return data

    def _string(self) -> str:
        return self._bytes(self._plain("<Q")).decode(errors="replace")

    def _value(self, kind: int, depth: int = 0) -> Any:
        if kind == STRING:
            return self._string()
        if kind == ARRAY:
            if depth == MOST_NESTED:
                raise ValueError("its lists are nested too deep")
            inner, count = self._plain("<I"), self._count(1)
            if inner in PLAIN:
                data = self._bytes(count * struct.calcsize(PLAIN[inner]))
                return np.frombuffer(data, dtype=np.dtype(PLAIN[inner])).tolist()
            return [self._value(inner, depth + 1) for _ in range(count)]
        if kind not in PLAIN:
            raise ValueError(f"it has a value of type {kind}, which is not known")
        return self._plain(PLAIN[kind])


def write_gguf(
    path: Path,
    metadata: Mapping[str, Any],
    tensors: Mapping[str, NDArray[np.float32]],
    format: str = "F16",
) -> None:
    """Write a file that llama.cpp reads. Vectors stay float32, as it wants them.

    Args:
        format: F32, F16, Q8_0 or Q4_0; matrices whose rows are no whole blocks become F16.

    Raises:
        OSError: it cannot be written.
        ConfigError: there is no such format to write.
    """
    if format not in NAMES or NAMES[format].write is None:
        writable = ", ".join(one.name for one in FORMATS.values() if one.write is not None)
        raise ConfigError(f"GGUF cannot be written as {format}", remedy=f"one of {writable}")
    formats = {name: _format_of(tensor, NAMES[format]) for name, tensor in tensors.items()}
    head = MAGIC + struct.pack("<IQQ", VERSIONS[-1], len(tensors), len(metadata))
    for key, value in metadata.items():
        head += _packed_string(key) + _packed(value)
    offset = 0
    for name, tensor in tensors.items():
        chosen = formats[name]
        head += _packed_string(name) + struct.pack("<I", tensor.ndim)
        head += struct.pack(f"<{tensor.ndim}Q", *tensor.shape[::-1])
        head += struct.pack("<IQ", chosen.number, offset)
        offset += _padded(TensorInfo(tensor.shape, chosen, 0).bytes)
    with path.open("wb") as stream:
        stream.write(head + b"\0" * (_padded(len(head)) - len(head)))
        for name, tensor in tensors.items():
            chosen = formats[name]
            assert chosen.write is not None
            rows = np.ascontiguousarray(tensor, dtype=np.float32).reshape(-1, chosen.size)
            data = np.ascontiguousarray(chosen.write(rows)).tobytes()
            stream.write(data + b"\0" * (_padded(len(data)) - len(data)))
        stream.flush()
        os.fsync(stream.fileno())


def _format_of(tensor: NDArray[np.float32], wanted: Format) -> Format:
    if tensor.ndim < 2:
        return NAMES["F32"]
    return NAMES["F16"] if tensor.shape[-1] % wanted.size else wanted


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _packed_string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _packed(value: Any, *, listed: bool = False) -> bytes:
    """A value with its type before it; whole numbers are signed in lists, as llama.cpp wants."""
    if isinstance(value, list | tuple):
        parts = [_packed(one, listed=True) for one in value]
        inner = parts[0][:4] if parts else struct.pack("<I", INT32)
        count = struct.pack("<Q", len(parts))
        values = b"".join(part[4:] for part in parts)
        return struct.pack("<I", ARRAY) + inner + count + values
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _packed_string(value)
    if isinstance(value, bool):
        return struct.pack("<I?", BOOL, value)
    if isinstance(value, float):
        return struct.pack("<If", FLOAT32, value)
    kind = INT32 if listed or value < 0 else UINT32
    return struct.pack("<I", kind) + struct.pack(PLAIN[kind], value)


def _broken(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path.name} is not a whole GGUF file: {reason}",
        where=path,
        remedy="copy it again from where it came from",
    )
