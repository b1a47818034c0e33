"""Weights in half precision with PyTorch alone: where there is no compiler for something faster."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from peluche.inference.torch_runner import KNOWN, TorchRunner, can_pack
from peluche.models.decoder import Decoder


def runs_halved(model: Decoder) -> bool:
    """Whether PyTorch has the products on this machine, and a model's parts are known."""
    return (
        model.head.weight.device.type == "cpu"
        and "fbgemm" in torch.backends.quantized.supported_engines
        and can_pack(model.config, *KNOWN)
    )


class _HalfMatrix(NamedTuple):
    """As `peluche.inference.packed.Matrix`, packed by fbgemm."""

    packed: Any

    @classmethod
    def of(cls, weight: Float[Tensor, "out in"], bias: Float[Tensor, "out"] | None) -> _HalfMatrix:
        return cls(torch.ops.quantized.linear_prepack_fp16(weight.contiguous(), bias))

    def __call__(self, rows: Float[Tensor, "rows in"]) -> Float[Tensor, "rows out"]:
        return torch.ops.quantized.linear_dynamic_fp16(rows, self.packed)


class HalfRunner(TorchRunner):
    """A `TorchRunner` with matrices in float16; all else, and every sum, is float32.

    Half the bytes are read at each step. A weight keeps 11 bits, a relative error of 2⁻¹².
    """

    pack = staticmethod(_HalfMatrix.of)
