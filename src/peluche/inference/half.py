"""Weights in half precision with PyTorch alone: where there is no compiler for something faster."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from peluche.inference.packed import Matrix, Product
from peluche.inference.torch_runner import KNOWN, PackedReader, TorchRunner, can_pack
from peluche.models.decoder import Decoder


def runs_halved(model: Decoder) -> bool:
    """Whether PyTorch has the products on this machine, and a model's parts are known."""
    return (
        model.head.weight.device.type == "cpu"
        and "fbgemm" in torch.backends.quantized.supported_engines
        and can_pack(model.config, *KNOWN)
    )


class HalfRunner(TorchRunner):
    """A `TorchRunner` with matrices in float16; all else, and every sum, is float32.

    Half the bytes are read at each step. A weight keeps 11 bits, a relative error of 2⁻¹².
    """

    @torch.inference_mode()
    def refresh(self, model: Decoder) -> None:
        super().refresh(model)
        reader = self.reader
        assert isinstance(reader, PackedReader)
        for block in reader.stack.blocks:
            attention, layer = block.self_attention, block.feed_forward
            attention.project, attention.out = _halved(attention.project), _halved(attention.out)
            # For other memories than this one.
            attention.query = attention.key_value = attention.project
            layer.up, layer.down = _halved(layer.up), _halved(layer.down)
        reader.head = _halved(reader.head)


class _HalfMatrix(NamedTuple):
    """As `peluche.inference.packed.Matrix`, packed by fbgemm."""

    packed: Any

    def __call__(self, rows: Float[Tensor, "rows in"]) -> Float[Tensor, "rows out"]:
        return torch.ops.quantized.linear_dynamic_fp16(rows, self.packed)


def _halved(matrix: Product) -> Product:
    assert isinstance(matrix, Matrix)
    weight = matrix.weight.t().contiguous()
    return _HalfMatrix(torch.ops.quantized.linear_prepack_fp16(weight, matrix.bias))
