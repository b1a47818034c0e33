"""What the C++ operator is told, as `decoder.cpp` declares it."""

from __future__ import annotations

import ctypes

from peluche.inference.native.weights import Matrix
from peluche.inference.runner import KVCache

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
# In the order of `Cache` there.
KV_CACHES: tuple[KVCache, ...] = ("float32", "float16", "int8")

ADDRESS, SIZE, FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float

_NORMS = ("attention", "feed_forward", "attention_out", "feed_forward_out", "query", "key")


class Layer(ctypes.Structure):
    _fields_ = (
        *((f"{name}_norm", ADDRESS) for name in _NORMS),
        *((name, ADDRESS) for name in ("cosines", "sines")),
        ("window", SIZE),
        *((name, Matrix) for name in ("qkv", "out", "gate_up", "down")),
    )


_SIZES = (
    *("layer_count", "d_model", "hidden", "inner"),
    *("heads", "kv_heads", "head_width", "vocabulary"),
)
_FLOATS = ("epsilon", "embedding_scale", "score_scale", "score_cap", "logit_cap")


class Model(ctypes.Structure):
    _fields_ = (
        *((name, SIZE) for name in _SIZES),
        *((name, FLOAT) for name in _FLOATS),
        *((name, ctypes.c_int32) for name in ("activation", "kv_cache")),
        ("layers", ADDRESS),
        ("embedding", Matrix),
        ("head", Matrix),
        *((name, ADDRESS) for name in ("input_norm", "norm", "memory")),
        *((name, SIZE) for name in ("blocks", "block_size")),
    )


_COUNTS = ("rows", "chunks", "wanted")
ARRAYS = ("tokens", "positions", "sequence", "first_row", "first_block", "tables", "wanted_rows")


class Batch(ctypes.Structure):
    _fields_ = (
        *((name, SIZE) for name in _COUNTS),
        *((name, ADDRESS) for name in ARRAYS),
        *((name, ADDRESS) for name in ("logits", "states")),
    )
