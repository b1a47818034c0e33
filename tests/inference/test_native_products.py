"""Products of the compiled operator: exact where numbers are whole, rows independent, each path."""

import ctypes

import numpy as np
import pytest
import torch

from peluche.inference.native.build import cpu_levels, native_library
from peluche.inference.native.product import NativeMatrix
from peluche.inference.native.weights import BLOCK, FORMATS, Store, pack, packed_bytes, padded

LEVELS = cpu_levels()


@pytest.fixture(params=LEVELS)
def library(request, monkeypatch):
    monkeypatch.setenv("PELUCHE_CPU", request.param)
    found = native_library()
    if found is None:
        pytest.skip("there is no C++ compiler")
    return found


def multiply(library, weight, rows, format, threads=1):
    packed = pack(weight, format)
    store = Store(len(packed.data) + 4096)
    matrix = store.keep(packed)
    inputs = torch.zeros(len(rows), packed.inputs)
    inputs[:, : rows.shape[1]] = rows
    out = torch.empty(len(rows), packed.outputs)
    scratch = torch.empty(inputs.numel() * 8 + 256, dtype=torch.uint8)
    library.peluche_multiply(
        ctypes.byref(matrix),
        ctypes.c_void_p(inputs.data_ptr()),
        ctypes.c_int64(len(rows)),
        ctypes.c_void_p(out.data_ptr()),
        ctypes.c_void_p(scratch.data_ptr()),
        threads,
    )
    assert not out[:, len(weight) :].any()
    return out[:, : len(weight)]


def whole(random, shape, least, most):
    """Whole numbers that reach both ends in each block, so that every scale is 1."""
    numbers = random.integers(least, most + 1, shape).astype(np.float32)
    numbers[:, ::BLOCK], numbers[:, 1::BLOCK] = least, most
    return torch.from_numpy(numbers)


@pytest.mark.parametrize(("format", "least", "most"), [("int8", -127, 127), ("int4", -8, 7)])
def test_whole_numbers_are_multiplied_exactly(library, format, least, most):
    random = np.random.default_rng(0)
    weight = whole(random, (50, 256), least, most)
    rows = whole(random, (11, 256), -127, 127)
    expected = (rows.double() @ weight.double().t()).float()
    assert torch.equal(multiply(library, weight, rows, format), expected)


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_the_largest_levels_do_not_saturate(library, signs):
    rows, weight = 127.0 * signs[0] * torch.ones(5, 64), 127.0 * signs[1] * torch.ones(33, 64)
    expected = torch.full((5, 33), 64 * 127.0 * 127.0 * signs[0] * signs[1])
    assert torch.equal(multiply(library, weight, rows, "int8"), expected)
    weight[:, ::2] = 0.0  # levels 0 and 15 of four bits
    expected /= 2
    found = multiply(library, weight, rows, "int4")
    # 127 / 15 is rounded to half precision.
    torch.testing.assert_close(found, expected, rtol=5e-4, atol=0)


def rounded(rows):
    """Rows as the operator rounds them: blocks of 32 to 8 bits."""
    padding = torch.zeros(len(rows), padded(rows.shape[1]) - rows.shape[1])
    blocks = torch.cat([rows, padding], 1).view(len(rows), -1, BLOCK)
    most = blocks.abs().amax(2, keepdim=True)
    levels = (blocks * torch.where(most == 0, 0.0, 127 / most)).round()
    return (levels * (most / 127)).flatten(1)[:, : rows.shape[1]]


def kept(weight, format):
    """Weights as a format keeps them, by its definition in GGUF."""
    padding = torch.zeros(len(weight), padded(weight.shape[1]) - weight.shape[1])
    blocks = torch.cat([weight, padding], 1).view(len(weight), -1, BLOCK)
    if format == "int8":
        scale = blocks.abs().amax(2, keepdim=True) / 127
        back = (blocks / scale).round() * scale.half().float()
    elif format == "int4":
        least, most = blocks.amin(2, keepdim=True), blocks.amax(2, keepdim=True)
        scale, least = ((most - least) / 15).half().float(), least.half().float()
        back = ((blocks - least) / scale).round().clamp(0, 15) * scale + least
    else:
        back = blocks.to(getattr(torch, format)).float()
    return back.flatten(1)[:, : weight.shape[1]]


@pytest.mark.parametrize("format", ["float32", "float16", "int8", "int4"])
def test_products_are_those_of_what_is_kept(library, format):
    generator = torch.Generator().manual_seed(0)
    # Neither size is made of whole blocks.
    weight = torch.randn(75, 100, generator=generator)
    rows = torch.randn(29, 100, generator=generator)
    seen = rounded(rows) if format.startswith("int") else rows
    expected = seen.double() @ kept(weight, format).double().t()
    found = multiply(library, weight, rows, format)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("format", ["float32", "float16", "int8", "int4"])
def test_a_row_is_the_same_alone_and_beside_any_others(library, format):
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(64, 96, generator=generator)
    rows = torch.randn(29, 96, generator=generator)
    together = multiply(library, weight, rows, format)
    alone = torch.cat([multiply(library, weight, row[None], format) for row in rows])
    assert torch.equal(together, alone)
    for count in (2, 3, 7, 13):
        assert torch.equal(multiply(library, weight, rows[:count], format), together[:count])


@pytest.mark.parametrize("format", ["float32", "int4"])
def test_many_rows_and_threads_change_nothing(library, format):
    generator = torch.Generator().manual_seed(4)
    weight = torch.randn(70, 96, generator=generator)
    rows = torch.randn(600, 96, generator=generator)
    found = multiply(library, weight, rows, format, threads=3)
    some = [slice(first, first + 200) for first in range(0, 600, 200)]
    parts = [multiply(library, weight, rows[part], format) for part in some]
    assert torch.equal(found, torch.cat(parts))


@pytest.mark.parametrize("shape", [(64, 96), (75, 100)])
@pytest.mark.parametrize("rows", [0, 1, 300])
def test_a_matrix_gives_what_pytorch_gives(library, shape, rows):
    generator = torch.Generator().manual_seed(5)
    weight, bias = torch.randn(shape, generator=generator), torch.randn(shape[0])
    # Neither rows nor weights lie in memory one after the other.
    inputs = torch.randn(shape[1], rows, generator=generator).t()
    for given in (bias, None):
        found = NativeMatrix(library, weight.t().contiguous().t(), given)(inputs)
        expected = inputs.double() @ weight.double().t() + (0 if given is None else given)
        assert found.is_contiguous()
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("format", ["float32", "int8", "int4"])
@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_row_that_is_not_a_number_stays_so_and_spoils_no_other(library, format, broken):
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(32, 64, generator=generator)
    rows = torch.randn(9, 64, generator=generator)
    right = multiply(library, weight, rows, format)
    rows[4, 3] = broken
    found = multiply(library, weight, rows, format)
    assert not found[4].isfinite().any()
    assert torch.equal(found[[0, 3, 5, 8]], right[[0, 3, 5, 8]])


def test_zeros_give_zeros(library):
    for format in ("int8", "int4"):
        found = multiply(library, torch.zeros(32, 32), torch.zeros(3, 32), format)
        assert torch.equal(found, torch.zeros(3, 32))


@pytest.mark.parametrize("format", FORMATS)
def test_sizes_are_known_before_packing(format):
    assert len(pack(torch.randn(75, 100), format).data) == packed_bytes(75, 100, format)
    assert len(pack(torch.randn(75, 100), "auto").data) == packed_bytes(75, 100, "auto")


@pytest.mark.parametrize("format", [*FORMATS, "auto"])
@pytest.mark.parametrize("outputs", [31, 64, 77])
def test_packed_in_slices_is_packed_at_once(monkeypatch, format, outputs):
    random = torch.randn(outputs, 70, generator=torch.Generator().manual_seed(0))
    for weight in (random, random.mul(3).round().clamp(-7, 8)):
        whole = pack(weight, format)
        with monkeypatch.context() as patched:
            patched.setattr("peluche.inference.native.weights.SLICE", 32)
            found = pack(weight, format)
        assert torch.equal(found.data, whole.data)
        assert found[1:] == whole[1:]


def test_weights_of_four_bits_are_known_again():
    random = np.random.default_rng(3)
    levels = random.integers(0, 16, (64, 3, BLOCK)).astype(np.float32)
    levels[..., 0], levels[..., 1] = 0, 15
    scale = random.uniform(0.001, 0.1, (64, 3, 1)).astype(np.float16).astype(np.float32)
    least = random.uniform(-1, 0, (64, 3, 1)).astype(np.float16).astype(np.float32)
    weight = torch.from_numpy((levels * scale + least).reshape(64, -1))
    assert pack(weight, "auto").format == "int4"
    torch.testing.assert_close(kept(weight, "int4"), weight, rtol=0, atol=1e-7)
    assert pack(torch.randn(64, 96), "auto").format == "int8"
