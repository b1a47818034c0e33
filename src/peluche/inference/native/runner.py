"""Llama and its relatives on a CPU: every layer of a step in one call of the C++ operator."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from peluche.inference.blocks import blocks_behind
from peluche.inference.native.build import native_library
from peluche.inference.native.weights import (
    LANES,
    Format,
    Matrix,
    Store,
    interleaved,
    pack,
    packed_bytes,
    padded,
)
from peluche.inference.packed import can_pack
from peluche.inference.runner import Chunk, widest_window
from peluche.inference.torch_runner import KNOWN
from peluche.models.decoder import Decoder
from peluche.models.language_model import LanguageModel
from peluche.nn.attention import MultiHeadAttention
from peluche.nn.blocks import Block
from peluche.nn.feedforward import GatedFeedForward
from peluche.nn.rotary import Rotary

# Parts of a step in the order of `Phase` in decoder.cpp.
PHASES = (
    "embed",
    "norm",
    "query, key, value",
    "rotate and remember",
    "attention",
    "output",
    "second norm",
    "gate and up",
    "down",
    "head",
)
# In the order of `Activation` there.
ACTIVATIONS = ("swiglu", "geglu_tanh")
FIRST_POSITIONS = 1024
# The window of a layer that has none.
EVERYTHING = 2**62

_address, _size, _float = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float

_NORMS = ("attention", "feed_forward", "attention_out", "feed_forward_out", "query", "key")


class _Layer(ctypes.Structure):
    _fields_ = (
        *((f"{name}_norm", _address) for name in _NORMS),
        *((name, _address) for name in ("cosines", "sines")),
        ("window", _size),
        *((name, Matrix) for name in ("qkv", "out", "gate_up", "down")),
    )


_SIZES = (
    *("layer_count", "d_model", "hidden", "inner"),
    *("heads", "kv_heads", "head_width", "vocabulary"),
)
_FLOATS = ("epsilon", "embedding_scale", "score_scale", "score_cap", "logit_cap")


class _Model(ctypes.Structure):
    _fields_ = (
        *((name, _size) for name in _SIZES),
        *((name, _float) for name in _FLOATS),
        *((name, ctypes.c_int32) for name in ("activation", "half_memory")),
        ("layers", _address),
        ("embedding", Matrix),
        ("head", Matrix),
        *((name, _address) for name in ("input_norm", "norm", "memory")),
        *((name, _size) for name in ("blocks", "block_size")),
    )


_COUNTS = ("rows", "chunks", "wanted")
_ARRAYS = ("tokens", "positions", "sequence", "first_row", "first_block", "tables", "wanted_rows")


class _Batch(ctypes.Structure):
    _fields_ = (
        *((name, _size) for name in _COUNTS),
        *((name, _address) for name in _ARRAYS),
        ("logits", _address),
    )


class _Weights(NamedTuple):
    """Where a model's weights are copied to."""

    store: Store
    vectors: list[Tensor]
    format: Format | Literal["auto"]

    def matrix(self, weight: Tensor, bias: Tensor | None = None) -> Matrix:
        matrix = self.store.keep(pack(weight.detach(), self.format))
        matrix.bias = None if bias is None else self.vector(bias)
        return matrix

    def linear(self, join: Callable[[list[Tensor]], Tensor], *layers: nn.Linear) -> Matrix:
        """Layers with the same inputs as one; `join` puts their rows together."""
        biases = [each.bias[:, None] for each in layers if each.bias is not None]
        bias = join(biases)[:, 0] if biases else None
        return self.matrix(join([each.weight for each in layers]), bias)

    def layer(self, block: nn.Module, window: int | None) -> _Layer:
        """All but the cosines and sines."""
        assert isinstance(block, Block)
        attention, layer = block.self_attention, block.feed_forward
        assert isinstance(attention, MultiHeadAttention)
        assert isinstance(layer, GatedFeedForward)
        return _Layer(
            attention_norm=self.norm(block.self_residual.norm),
            feed_forward_norm=self.norm(block.feed_forward_residual.norm),
            attention_out_norm=self.norm(block.self_residual.out_norm),
            feed_forward_out_norm=self.norm(block.feed_forward_residual.out_norm),
            query_norm=self.norm(attention.query_norm),
            key_norm=self.norm(attention.key_norm),
            window=EVERYTHING if window is None else window,
            qkv=self.linear(torch.cat, attention.query, attention.key, attention.value),
            out=self.linear(torch.cat, attention.out),
            gate_up=self.linear(interleaved, layer.gate, layer.up),
            down=self.linear(torch.cat, layer.down),
        )

    def norm(self, norm: nn.Module | None) -> int | None:
        """Where a norm's weights are."""
        if norm is None:
            return None
        assert isinstance(norm, nn.RMSNorm)
        weight = norm.weight
        return self.vector(torch.ones(norm.normalized_shape) if weight is None else weight)

    def vector(self, values: Tensor) -> int:
        """Where a copy of them is, with zeros added up to whole blocks."""
        kept = torch.zeros(padded(len(values)))
        kept[: len(values)] = values.detach()
        self.vectors.append(kept)
        return kept.data_ptr()


class _Copied(NamedTuple):
    """What the operator reads, with all that it points to.

    It is replaced as a whole: an interruption must not leave addresses of what is gone.
    """

    model: _Model
    weights: _Weights
    layers: ctypes.Array[_Layer]
    rotaries: Sequence[Rotary]
    width: int
    positions: int
    turns: Mapping[Rotary, Sequence[Tensor]]

    def turned(self, positions: int) -> _Copied:
        """The same with cosines and sines of so many positions."""
        places, model = torch.arange(positions), _Model.from_buffer_copy(self.model)
        turns = {
            rotary: [each.contiguous() for each in rotary.turns(places, self.width, torch.float32)]
            for rotary in set(self.rotaries)
        }
        layers = type(self.layers).from_buffer_copy(self.layers)
        for layer, rotary in zip(layers, self.rotaries, strict=True):
            layer.cosines, layer.sines = (each.data_ptr() for each in turns[rotary])
        model.layers = ctypes.addressof(layers)
        return self._replace(model=model, layers=layers, positions=positions, turns=turns)


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
        memory: how keys and values are stored.
    """

    def __init__(
        self,
        model: Decoder,
        blocks: int,
        block_size: int = LANES,
        weights: Format | Literal["auto"] = "auto",
        memory: Literal["float32", "float16"] = "float32",
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
        # Runs of 16 slots of a head: keys, then values, which are padded (see attention.h).
        vectors = LANES * (width + padded(width, LANES))
        shape = (config.layers, blocks, block_size // LANES * kv_heads * vectors)
        kept_as = torch.float32 if memory == "float32" else torch.float16
        # What is not a number there reaches nobody, so that no page is touched before it is used.
        self.memory = torch.empty(shape, dtype=kept_as)
        self.seconds = np.zeros(len(PHASES))
        self._scratch = torch.empty(0, dtype=torch.uint8)
        self.refresh(model)

    @torch.inference_mode()
    def refresh(self, model: Decoder) -> None:
        """Copy the weights of the moment; the copy before is kept until all of it is done."""
        config, stack = model.config, model.decoder
        # Matrices that are put together are padded once, hence no longer than one by one.
        matrices = [each.shape for each in model.parameters() if each.ndim == 2]
        sizes = (packed_bytes(outputs, inputs, self._weights) for outputs, inputs in matrices)
        store = Store(sum(sizes))
        weights = _Weights(store, [], self._weights)
        windows = config.windows(config.layers)
        layers = (_Layer * config.layers)(*map(weights.layer, stack.blocks, windows))
        head = weights.matrix(model.head.weight)
        tied = config.tie_embeddings
        assert stack.embedding is not None
        copied = _Model(
            layer_count=config.layers,
            d_model=config.d_model,
            hidden=padded(config.d_model),
            inner=padded(config.d_ff),
            heads=config.heads,
            kv_heads=config.kv_heads or config.heads,
            head_width=config.width_of_heads,
            vocabulary=model.vocabulary,
            epsilon=_epsilon(stack.norm),
            embedding_scale=config.embedding_scale,
            score_scale=config.scale_of_scores or config.width_of_heads**-0.5,
            score_cap=config.attention_softcap or 0.0,
            logit_cap=config.logit_softcap or 0.0,
            activation=ACTIVATIONS.index(config.activation),
            half_memory=self.memory.dtype == torch.float16,
            embedding=head if tied else weights.matrix(stack.embedding.weight),
            head=head,
            input_norm=weights.norm(stack.input_norm),
            norm=weights.norm(stack.norm),
            memory=self.memory.data_ptr(),
            blocks=self.blocks,
            block_size=self.block_size,
        )
        rotaries = [_rotary(block) for block in stack.blocks]
        width = config.width_of_heads
        without = _Copied(copied, weights, layers, rotaries, width, 0, {})
        self._copied = without.turned(FIRST_POSITIONS)

    @property
    def packed_bytes(self) -> int:
        """What the weights take."""
        return self._copied.weights.store.used

    def run(self, chunks: Sequence[Chunk]) -> Float[Tensor, "wanted vocabulary"]:
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
        batch = _Batch(
            *(rows[-1], len(chunks), len(wanted)),
            *(arrays[name].ctypes.data for name in _ARRAYS),
            logits.data_ptr(),
        )
        while True:
            needed = self._library.peluche_step(
                ctypes.byref(self._copied.model),
                ctypes.byref(batch),
                torch.get_num_threads(),
                _address(self._scratch.data_ptr()),
                _size(len(self._scratch)),
                _address(self.seconds.ctypes.data),
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


def _epsilon(norm: nn.Module) -> float:
    assert isinstance(norm, nn.RMSNorm)
    return torch.finfo(torch.float32).eps if norm.eps is None else norm.eps


def _rotary(block: nn.Module) -> Rotary:
    assert isinstance(block, Block)
    assert isinstance(block.self_attention, MultiHeadAttention)
    rotary = block.self_attention.head_positions
    assert isinstance(rotary, Rotary)
    return rotary


def _ints(values: Iterable[int]) -> NDArray[np.int32]:
    return np.fromiter(values, dtype=np.int32)
