"""Llama and its relatives on a CPU: every layer of a step in one call of the C++ operator."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from peluche.inference.blocks import blocks_behind
from peluche.inference.native.build import native_library
from peluche.inference.native.copied import copy_model
from peluche.inference.native.structures import (
    ACTIVATIONS,
    ADDRESS,
    ARRAYS,
    KV_CACHES,
    PHASES,
    SIZE,
    Batch,
)
from peluche.inference.native.weights import LANES, Format, padded
from peluche.inference.packed import can_pack
from peluche.inference.runner import Chunk, KVCache, Read, widest_window
from peluche.inference.torch_runner import KNOWN
from peluche.models.decoder import Decoder
from peluche.models.language_model import LanguageModel

# Of a number, its type, and for each slot of a head how many more are for two scales of float32.
_KEPT: dict[KVCache, tuple[torch.dtype, int]] = {
    "float32": (torch.float32, 0),
    "float16": (torch.float16, 0),
    "int8": (torch.int8, 8),
}


def runs_natively(model: LanguageModel, block_size: int = LANES) -> bool:
    """Whether the operator knows all parts of a model; whether it can be compiled is not asked."""
    if not isinstance(model, Decoder) or model.head.weight.device.type != "cpu":
        return False
    config = model.config
    return (
        can_pack(config, *KNOWN)
        and config.norm in ("rmsnorm", "plain_rmsnorm")
        and config.norm_placement in ("pre", "sandwich")
        and config.positions == "rope"
        and config.activation in ACTIVATIONS
        and config.width_multiplier == 1
        and block_size % LANES == 0
    )


class NativeRunner:
    """See `peluche.inference.runner.Runner`. Changes of the model show after `refresh`.

    Args:
        model: one that `runs_natively`; its weights are copied.
        block_size: a multiple of 16.
        weights: how matrices are stored. "auto" is four bits for those that come from a file with
            as many, which changes nothing, and else eight; with either, what a matrix is
            multiplied by is rounded to eight bits, 32 numbers of a row by a scale of their own.
        kv_cache: how keys and values are stored; see `fastest_runner`.
    """

    def __init__(
        self,
        model: Decoder,
        blocks: int,
        block_size: int = LANES,
        weights: Format | Literal["auto"] = "auto",
        kv_cache: KVCache = "float32",
    ) -> None:
        library = native_library()
        if library is None or not runs_natively(model, block_size):
            raise ValueError("ask runs_natively and native_library first")
        self._library, self._weights = library, weights
        self.blocks, self.block_size = blocks, block_size
        self.vocabulary, self.longest = model.vocabulary, model.longest
        config = model.config
        self.window = widest_window(config)
        kv_heads, width = config.kv_heads or config.heads, config.width_of_heads
        # Runs of 16 slots of a head: keys, then values, which are padded, then scales if there are
        # any (see attention.h).
        dtype, scales = _KEPT[kv_cache]
        run = LANES * (width + padded(width, LANES) + scales)
        shape = (config.layers, blocks, block_size // LANES * kv_heads * run)
        # What is not a number there reaches nobody, so that no page is touched before it is used.
        self.memory, self.kv_cache = torch.empty(shape, dtype=dtype), kv_cache
        self.seconds = np.zeros(len(PHASES))
        self._scratch = torch.empty(0, dtype=torch.uint8)
        self.refresh(model)

    @torch.inference_mode()
    def refresh(self, model: Decoder) -> None:
        """Copy the weights of the moment; the copy before is kept until all of it is done."""
        copied = copy_model(model, self._weights)
        copied.model.kv_cache = KV_CACHES.index(self.kv_cache)
        copied.model.memory = self.memory.data_ptr()
        copied.model.blocks, copied.model.block_size = self.blocks, self.block_size
        self._copied = copied

    @property
    def packed_bytes(self) -> int:
        """What the weights take."""
        return self._copied.weights.store.used

    def run(self, chunks: Sequence[Chunk]) -> Float[Tensor, "wanted vocabulary"]:
        return self._step(chunks, None)

    def read(self, chunks: Sequence[Chunk]) -> Read:
        hidden = torch.empty(sum(chunk.wanted for chunk in chunks), self._copied.model.d_model)
        return Read(self._step(chunks, hidden), hidden)

    def _step(self, chunks: Sequence[Chunk], hidden: Tensor | None) -> Tensor:
        lengths = [len(chunk.tokens) for chunk in chunks]
        ends = [chunk.start + length for chunk, length in zip(chunks, lengths, strict=True)]
        if max(ends) > self._copied.positions:
            self._copied = self._copied.turned(max(max(ends), 2 * self._copied.positions))
        rows = list(accumulate(lengths, initial=0))
        wanted = [
            row
            for chunk, end in zip(chunks, rows[1:], strict=True)
            for row in range(end - chunk.wanted, end)
        ]
        logits = torch.empty(len(wanted), self.vocabulary)
        arrays: dict[str, NDArray[Any]] = {
            "tokens": _ints(chain.from_iterable(chunk.tokens for chunk in chunks)),
            "positions": _ints(
                chain.from_iterable(
                    range(chunk.start, end) for chunk, end in zip(chunks, ends, strict=True)
                )
            ),
            "sequence": np.repeat(np.arange(len(chunks), dtype=np.int32), lengths),
            "first_row": np.array(rows, dtype=np.int64),
            "first_block": np.cumsum([0, *(len(c.blocks) for c in chunks)], dtype=np.int64),
            "tables": _ints(chain.from_iterable(self._table(chunk) for chunk in chunks)),
            "wanted_rows": _ints(wanted),
        }
        self._check(chunks, ends, arrays)
        batch = Batch(
            *(rows[-1], len(chunks), len(wanted)),
            *(arrays[name].ctypes.data for name in ARRAYS),
            logits.data_ptr(),
            None if hidden is None else hidden.data_ptr(),
        )
        while True:
            needed = self._library.peluche_step(
                ctypes.byref(self._copied.model),
                ctypes.byref(batch),
                torch.get_num_threads(),
                ADDRESS(self._scratch.data_ptr()),
                SIZE(len(self._scratch)),
                ADDRESS(self.seconds.ctypes.data),
            )
            if needed <= len(self._scratch):
                return logits
            self._scratch = torch.empty(needed, dtype=torch.uint8)

    def _table(self, chunk: Chunk) -> list[int]:
        """A chunk's blocks; the operator does not look at those behind the window."""
        behind = blocks_behind(self.window, chunk.start, self.block_size)
        return [*[0] * behind, *chunk.blocks[behind:]]

    def _check(
        self, chunks: Sequence[Chunk], ends: Sequence[int], arrays: dict[str, NDArray[Any]]
    ) -> None:
        """See that nothing is read or written elsewhere.

        Raises:
            IndexError: a token, block, position or wanted row that there is not.
        """
        for name, size in (("tokens", self.vocabulary), ("tables", self.blocks)):
            if not ((arrays[name] >= 0) & (arrays[name] < size)).all():
                raise IndexError(f"{name} reach from 0 to {size - 1}")
        for chunk, end in zip(chunks, ends, strict=True):
            if end > len(chunk.blocks) * self.block_size or chunk.start < 0 or not chunk.tokens:
                raise IndexError(
                    f"{len(chunk.blocks)} blocks for positions {chunk.start} to {end} of a chunk"
                )
            if not 0 <= chunk.wanted <= len(chunk.tokens):
                raise IndexError(f"{chunk.wanted} rows wanted of {len(chunk.tokens)} tokens")

    def copy(self, source: int, target: int) -> None:
        self.memory[:, target] = self.memory[:, source]


def _ints(values: Iterable[int]) -> NDArray[np.int32]:
    return np.fromiter(values, dtype=np.int32)
