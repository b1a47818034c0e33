"""Tensors ⇄ safetensors files: exact, tied names, equal bytes, readable by the usual tools."""

import stat
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from peluche.errors import CheckpointError
from peluche.hub.tensors import bytes_needed, read_tensors, write_tensors

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.complex64,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint64,
    torch.uint32,
    torch.uint16,
    torch.uint8,
    torch.bool,
]


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert raw(found[name]) == raw(tensor)


def test_every_dtype_and_odd_shape_comes_back_exactly(tmp_path: Path) -> None:
    tensors = {str(dtype): torch.arange(5).to(dtype) for dtype in DTYPES}
    tensors |= {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3), "é": torch.ones(1, 1, 3)}
    path = tmp_path / "all.safetensors"
    write_tensors(path, tensors)
    assert_same(read_tensors(path), tensors)
    assert_same(load_file(path), tensors)


@given(
    shapes=st.lists(st.lists(st.integers(0, 4), max_size=3), max_size=5),
    dtypes=st.lists(st.sampled_from(DTYPES), min_size=5, max_size=5),
)
def test_any_mixture_comes_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[list[int]], dtypes: list[torch.dtype]
) -> None:
    tensors = {
        f"t{i}": torch.randint(0, 2, shape).to(dtype)
        for i, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=False))
    }
    path = tmp_path_factory.mktemp("mixture") / "some.safetensors"
    write_tensors(path, tensors)
    assert_same(read_tensors(path), tensors)


def test_special_values_keep_their_bits(tmp_path: Path) -> None:
    tensor = torch.tensor([float("nan"), float("inf"), -0.0, 1e-45])
    write_tensors(tmp_path / "x.safetensors", {"x": tensor})
    assert raw(read_tensors(tmp_path / "x.safetensors")["x"]) == raw(tensor)


def test_tied_tensors_are_written_once_and_both_names_come_back(tmp_path: Path) -> None:
    table = torch.randn(50, 8)
    path = tmp_path / "tied.safetensors"
    write_tensors(path, {"embedding": table, "head": table.view(50, 8), "other": torch.ones(2)})
    assert set(load_file(path)) == {"embedding", "other"}
    found = read_tensors(path)
    assert_same(found, {"embedding": table, "head": table, "other": torch.ones(2)})
    assert found["embedding"] is found["head"]
    assert bytes_needed({"embedding": table, "head": table}) == table.nbytes


def test_views_that_are_not_equal_are_not_taken_for_tied(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {"base": base, "across": base.t(), "first": base[0], "flat": base.reshape(-1)}
    write_tensors(tmp_path / "views.safetensors", tensors)
    assert_same(read_tensors(tmp_path / "views.safetensors"), tensors)


def test_a_tied_model_and_its_optimizer_come_back(tmp_path: Path) -> None:
    embedding, head = torch.nn.Embedding(7, 4), torch.nn.Linear(4, 7, bias=False)
    head.weight = embedding.weight
    model = torch.nn.ModuleDict({"embedding": embedding, "head": head})
    write_tensors(tmp_path / "m.safetensors", model.state_dict())
    expected = embedding.weight.detach().clone()
    with torch.no_grad():
        embedding.weight.zero_()
    model.load_state_dict(read_tensors(tmp_path / "m.safetensors"))
    assert torch.equal(head.weight, expected)


def test_equal_tensors_give_equal_bytes(tmp_path: Path) -> None:
    tensors = {name: torch.ones(3) for name in "abc"}
    metadata = {f"key{i}": "value" for i in range(8)}
    for copy in ("one", "two"):
        write_tensors(tmp_path / copy, tensors, metadata)
        tensors = dict(reversed(tensors.items()))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    write_tensors(tmp_path / "weights", {"a": torch.ones(1)})
    (tmp_path / "plain").write_text("")
    mode = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("weights", "plain")}
    assert mode["weights"] == mode["plain"]


@pytest.mark.parametrize("content", [b"", b"\0" * 7, b"not safetensors at all", b"\xff" * 64])
def test_what_is_not_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"bad\.safetensors is not a whole"):
        read_tensors(path)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.safetensors"):
        read_tensors(tmp_path / "none.safetensors")
