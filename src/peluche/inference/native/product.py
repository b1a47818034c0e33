"""One product by the compiled operator, for models whose other parts are PyTorch's."""

from __future__ import annotations

import ctypes

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from peluche.inference.native.weights import Store, pack


class NativeMatrix:
    """As `peluche.inference.packed.Matrix`, in float32: what a row gives does not depend on others.

    Args:
        library: see `native_library`.
        weight: (out, in), copied.
        bias: (out,), copied.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        weight: Float[Tensor, "out in"],
        bias: Float[Tensor, "out"] | None,
    ) -> None:
        self._multiply = library.peluche_multiply
        self.outputs, self.inputs = weight.shape
        packed = pack(weight, "float32")
        self._store = Store(len(packed.data))
        self._matrix = self._store.keep(packed)
        if bias is not None:
            self._bias = F.pad(bias.float(), (0, packed.outputs - self.outputs))
            self._matrix.bias = self._bias.data_ptr()

    def __call__(self, rows: Float[Tensor, "rows in"]) -> Float[Tensor, "rows out"]:
        if self._matrix.inputs != self.inputs:
            rows = F.pad(rows, (0, self._matrix.inputs - self.inputs))
        rows = rows.contiguous()
        found = torch.empty(len(rows), self._matrix.outputs)
        self._multiply(
            ctypes.byref(self._matrix),
            ctypes.c_void_p(rows.data_ptr()),
            ctypes.c_int64(len(rows)),
            ctypes.c_void_p(found.data_ptr()),
            None,
            torch.get_num_threads(),
        )
        return found[:, : self.outputs].contiguous()
