"""Named tensors ⇄ one safetensors file.

Files are written here rather than by the `safetensors` package because its writer orders metadata
at random (equal tensors must give equal bytes), makes files that only their owner can read, and
leaves unnamed temporary files behind when it is killed. Reading is the package's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from peluche.errors import CheckpointError

ALIASES = "peluche.aliases"
_DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.complex64: "C64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors to a safetensors file and flush it to disk. Equal input gives equal bytes.

    Tensors that are the same memory under two names (tied weights) are written once, under the
    first name; the others are recorded in the metadata and come back as the same tensor.

    Raises:
        OSError: when the file cannot be written, e.g. because the disk is full.
    """
    kept, aliases = _without_aliases(tensors)
    # Widest elements first, as the format asks, so that every tensor starts at a multiple of its
    # element size.
    names = sorted(kept, key=lambda name: (-kept[name].element_size(), name))
    entries: dict[str, object] = {
        "__metadata__": {
            "format": "pt",  # transformers refuses files without it
            **(metadata or {}),
            **({ALIASES: json.dumps(aliases, sort_keys=True)} if aliases else {}),
        }
    }
    offset = 0
    for name in names:
        tensor = kept[name]
        end = offset + tensor.nbytes
        entries[name] = {
            "dtype": _DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    header = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        for name in names:
            flat = kept[name].detach().cpu().contiguous().reshape(-1)
            stream.write(flat.view(torch.uint8).numpy().data)
        stream.flush()
        os.fsync(stream.fileno())


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file, with the names of tied tensors given back.

    Tensors are on the CPU, in memory of their own: torch aligns it, and a mapped file would make
    arithmetic depend on where in the file a tensor lies.

    Raises:
        CheckpointError: when the file is absent or is not a whole safetensors file.
    """
    names = tensor_names(path)
    tensors = {name: read_tensor(path, name) for name in dict.fromkeys(names.values())}
    return {name: tensors[own] for name, own in names.items()}


def tensor_names(path: Path) -> dict[str, str]:
    """The names of a safetensors file's tensors; for each that by which the file has it, which is
    another one for tied tensors.

    Raises:
        CheckpointError: when the file is absent or is not a whole safetensors file.
    """
    with _whole(path), safe_open(path, framework="pt") as stream:
        names, metadata = list(stream.keys()), stream.metadata() or {}
        own = dict(zip(names, names, strict=True))
        aliases = json.loads(metadata.get(ALIASES, "{}"))
        return own | {alias: own[name] for alias, name in aliases.items()}


def read_tensor(path: Path, name: str, dtype: torch.dtype | None = None) -> Tensor:
    """Read one tensor of those that a safetensors file has; see `read_tensors`.

    Args:
        dtype: what to make of it; its own unless given.

    Raises:
        CheckpointError: when the file is absent or is not a whole safetensors file.
    """
    # Opened for each, since what is mapped of a file counts as memory until it is closed.
    with _whole(path), safe_open(path, framework="pt") as stream:
        tensor: Tensor = stream.get_tensor(name)
        return tensor.to(dtype or tensor.dtype, copy=True)


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"{path.name} is not a whole safetensors file ({error})",
            where=path,
            remedy="copy it again from where it came from",
        ) from None


def bytes_needed(tensors: Mapping[str, Tensor]) -> int:
    """Bytes that `write_tensors` would write for the tensors' values (the header is small)."""
    kept, _ = _without_aliases(tensors)
    return sum(tensor.nbytes for tensor in kept.values())


def _without_aliases(
    tensors: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The distinct tensors, and alias → name of the kept one, by memory, layout and type."""
    kept: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[object, str] = {}
    for name, tensor in tensors.items():
        memory = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and memory in first:
            aliases[name] = first[memory]
        else:
            first[memory] = name
            kept[name] = tensor
    return kept, aliases
