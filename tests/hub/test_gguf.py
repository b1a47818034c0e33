"""GGUF files against the package `gguf`, and files that are not what they say."""

import contextlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peluche.errors import CheckpointError, ConfigError
from peluche.hub.gguf import GGUFFile, write_gguf
from peluche.hub.gguf_blocks import FORMATS

gguf = pytest.importorskip("gguf")
BLOCKS = [one for one in FORMATS.values() if one.size > 1]


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("format", BLOCKS, ids=lambda format: format.name)
def test_blocks_are_read_as_llama_cpp_reads_them(format):
    kind = gguf.GGMLQuantizationType(format.number)
    assert gguf.GGML_QUANT_SIZES[kind] == (format.size, format.bytes)
    blocks = np.random.default_rng(0).integers(0, 256, (60, format.bytes), dtype=np.uint8)
    expected = gguf.quants.dequantize(blocks, kind).reshape(60, format.size)
    usable = np.isfinite(expected).all(1)  # some random scales are not numbers
    assert usable.sum() > 40
    np.testing.assert_array_equal(format.read(blocks)[usable], expected[usable])


@pytest.mark.parametrize(
    "format", [one for one in BLOCKS if one.write], ids=lambda format: format.name
)
def test_blocks_are_written_as_llama_cpp_writes_them(format):
    numbers = np.random.default_rng(1).normal(size=(60, format.size)).astype(np.float32)
    numbers[3] = 0
    expected = gguf.quants.quantize(numbers, gguf.GGMLQuantizationType(format.number))
    np.testing.assert_array_equal(format.write(numbers), expected.reshape(60, -1))


METADATA = {
    "general.architecture": "llama",
    "a.number": 7,
    "a.negative": -7,
    "a.fraction": 0.5,
    "a.flag": True,
    "a.list": ["one", "zwei", "trois"],
    "a.row": [1, 2, 3],
}


def tensors():
    random = np.random.default_rng(2)
    return {
        "matrix": random.normal(size=(6, 64)).astype(np.float32),
        "odd": random.normal(size=(4, 5)).astype(np.float32),
        "vector": random.normal(size=7).astype(np.float32),
    }


@pytest.mark.parametrize(("format", "error"), [("F32", 0), ("F16", 2e-3), ("Q8_0", 2e-2)])
def test_what_is_written_is_read_again_by_both(tmp_path, format, error):
    path = tmp_path / "a.gguf"
    write_gguf(path, METADATA, tensors(), format)
    ours, theirs = GGUFFile(path), gguf.GGUFReader(path)
    assert ours.metadata == METADATA
    assert {key: theirs.fields[key].contents() for key in METADATA} == METADATA
    for name, expected in tensors().items():
        np.testing.assert_allclose(ours.tensor(name), expected, atol=error)
        other = next(tensor for tensor in theirs.tensors if tensor.name == name)
        found = gguf.quants.dequantize(other.data, other.tensor_type)
        np.testing.assert_array_equal(ours.tensor(name), found.reshape(expected.shape))


def test_what_they_write_is_read(tmp_path):
    path = tmp_path / "a.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("a.number", 7)
    writer.add_array("a.list", ["one", "zwei"])
    for name, tensor in tensors().items():
        writer.add_tensor(name, tensor)
    for step in ("header_to_file", "kv_data_to_file", "tensors_to_file"):
        getattr(writer, f"write_{step}")()
    writer.close()
    found = GGUFFile(path)
    assert found.metadata["a.list"] == ["one", "zwei"]
    for name, expected in tensors().items():
        np.testing.assert_array_equal(found.tensor(name), expected)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "whole.gguf"
    write_gguf(path, METADATA, tensors(), "Q8_0")
    return path.read_bytes()


def read_all(path):
    file = GGUFFile(path)
    for name in file.tensors:
        file.tensor(name)


@given(data=st.data())
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_damaged_file_is_an_error_and_nothing_worse(whole, tmp_path, data):
    """Cut off anywhere, or some bytes changed: read as something, or refused."""
    content = bytearray(whole)
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    for _ in range(data.draw(st.integers(0, 3)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.gguf"
    path.write_bytes(content)
    with np.errstate(all="ignore"), contextlib.suppress(CheckpointError):
        read_all(path)


@pytest.mark.parametrize("size", [0, 3, 4, 20, 200])
def test_a_short_file_says_so(whole, tmp_path, size):
    path = tmp_path / "short.gguf"
    path.write_bytes(whole[:size])
    with pytest.raises(CheckpointError, match=r"not a whole GGUF file"):
        GGUFFile(path)


def test_a_file_without_its_end_says_which_tensor(whole, tmp_path):
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[:-40])
    with pytest.raises(CheckpointError, match="tensor 'vector' ends after the file does"):
        GGUFFile(path)


def test_huge_counts_are_refused_before_memory_is_asked_for(whole, tmp_path):
    path = tmp_path / "huge.gguf"
    content = bytearray(whole)
    content[8:16] = (2**60).to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="more than fit"):
        GGUFFile(path)


def test_formats_that_cannot_be_written_are_named(tmp_path):
    with pytest.raises(ConfigError, match="Q6_K"):
        write_gguf(tmp_path / "a.gguf", {}, tensors(), "Q6_K")
