"""How the operator is compiled, kept, and done without."""

import shutil
import stat
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from peluche.errors import ConfigError
from peluche.inference.native import build
from peluche.inference.runner import Chunk, fastest_runner
from peluche.models.decoder import DecoderConfig


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An empty cache and temporary folder, and nothing loaded."""
    real = build._built("plain") if shutil.which("c++") or shutil.which("g++") else None
    monkeypatch.setenv("PELUCHE_CPU", "plain")
    monkeypatch.setenv("PELUCHE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    build._library.cache_clear()
    yield real
    build._library.cache_clear()


def fake_compiler(folder, body):
    """A program called as a compiler; `$out` is what it is to write."""
    script = folder / "compiler"
    script.write_text(
        f'#!/bin/sh\necho run >> "{folder}/runs"\nfor out; do :; done\n{textwrap.dedent(body)}\n'
    )
    script.chmod(0o755)
    return str(script)


def test_without_a_compiler_torch_generates(fresh, monkeypatch, capfd, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    model = DecoderConfig(
        d_model=32, layers=1, heads=2, d_ff=32, activation="swiglu", norm="rmsnorm", bias=False
    )
    model = model.build(40).eval()
    with torch.inference_mode():
        expected = model.logits(model.hidden(torch.tensor([[1, 2, 3]])))[0]
    for _ in range(2):
        found = fastest_runner(model, 4, weights="int8").run([Chunk([1, 2, 3], 0, [0], 3)])
        torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-3)
    said = capfd.readouterr().err
    assert said.count("there is no C++ compiler") == 1
    assert "PyTorch does its work instead" in said


@pytest.mark.parametrize(
    ("compiler", "complaint"),
    [
        ("/nowhere/c++", "cannot be run"),
        ("false", "it says nothing"),
        ("true", "cannot be loaded"),  # it writes no file
    ],
)
def test_a_compiler_that_does_not_work(fresh, monkeypatch, capfd, compiler, complaint):
    monkeypatch.setenv("CXX", compiler)
    assert build.native_library() is None
    assert complaint in capfd.readouterr().err


def test_what_is_no_library_is_not_used(fresh, monkeypatch, capfd, tmp_path):
    monkeypatch.setenv("CXX", fake_compiler(tmp_path, 'echo nonsense > "$out"'))
    assert build.native_library() is None
    assert "cannot be loaded" in capfd.readouterr().err


def test_it_is_compiled_once_by_those_that_start_together(fresh, monkeypatch, tmp_path):
    if fresh is None:
        pytest.skip("there is no C++ compiler")
    monkeypatch.setenv("CXX", fake_compiler(tmp_path, f'sleep 0.2; cp "{fresh}" "$out"'))
    # Locks of files are between openings, so that threads stand for processes.
    with ThreadPoolExecutor() as pool:
        found = set(pool.map(build._built, ["plain"] * 3))
    assert len(found) == 1
    assert (tmp_path / "runs").read_text() == "run\n"
    assert build.native_library() is not None


def test_a_cache_that_cannot_be_written(fresh, monkeypatch, capfd, tmp_path):
    if fresh is None:
        pytest.skip("there is no C++ compiler")
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setenv("CXX", fake_compiler(tmp_path, f'cp "{fresh}" "$out"'))
    assert build.native_library() is not None
    (own,) = tmp_path.glob("peluche-*")
    assert f"cannot be written: its operator is kept in {own}" in capfd.readouterr().err
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    # Nothing is run from where others may have put it.
    own.chmod(0o777)
    build._library.cache_clear()
    assert build.native_library() is None


def test_a_compiler_without_threads(fresh, monkeypatch, capfd, tmp_path):
    if fresh is None:
        pytest.skip("there is no C++ compiler")
    body = f'case "$*" in *-fopenmp*) exit 1;; esac; cp "{fresh}" "$out"'
    monkeypatch.setenv("CXX", fake_compiler(tmp_path, body))
    for _ in range(2):
        # At each start.
        build._library.cache_clear()
        assert build.native_library() is not None
        assert "one thread" in capfd.readouterr().err
    assert (tmp_path / "runs").read_text() == "run\n" * 2
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("CXX", fake_compiler(tmp_path / "other", f'cp "{fresh}" "$out"'))
    build._library.cache_clear()
    assert build.native_library() is not None
    assert "one thread" not in capfd.readouterr().err


def test_a_library_that_is_kept_needs_no_compiler(fresh, monkeypatch, tmp_path):
    if fresh is None:
        pytest.skip("there is no C++ compiler")
    monkeypatch.setenv("CXX", fake_compiler(tmp_path, f'cp "{fresh}" "$out"'))
    assert build.native_library() is not None
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(tmp_path))
    build._library.cache_clear()
    assert build.native_library() is not None


def test_an_instruction_set_that_is_not_there(monkeypatch):
    monkeypatch.setenv("PELUCHE_CPU", "avx3")
    with pytest.raises(ConfigError, match="no instruction set 'avx3'"):
        build.native_library()


def test_a_processor_without_avx2_is_left_to_torch(monkeypatch, capfd):
    monkeypatch.delenv("PELUCHE_CPU", raising=False)
    monkeypatch.setattr(build, "cpu_levels", lambda: ["plain"])
    build._say_slow.cache_clear()
    assert build.native_library() is None
    assert build.native_library() is None
    assert capfd.readouterr().err.count("no AVX2") == 1


def test_none_at_all_if_asked_for(monkeypatch):
    monkeypatch.setenv("PELUCHE_NATIVE", "0")
    assert build.native_library() is None
