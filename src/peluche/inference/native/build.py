"""The C++ operator: compiled on first use, kept in the cache, absent where it cannot be compiled.

One library for each instruction set, so that nobody waits for those of other machines. Which one
this machine gets is found at run time; ``PELUCHE_CPU`` asks for a lesser one (avxvnni, avx2 or
plain), and ``PELUCHE_NATIVE=0`` for none.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from peluche.data.locate import cache_folder
from peluche.errors import ConfigError, nearest
from peluche.files import replacing

SOURCES = ("decoder.cpp", "attention.h", "linear.h", "lanes.h")
FLAGS = ("-std=c++17", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fPIC", "-shared")
# The end of a library's name.
ONE_THREAD = "-one-thread"
_AVX2 = ("-mavx2", "-mfma", "-mf16c")
# The best first: what compilers call them, and the processor's own words for what they need.
LEVELS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "avx512": (
        (*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni"),
        ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "fma", "f16c"),
    ),
    "avxvnni": ((*_AVX2, "-mavxvnni"), ("avx2", "fma", "f16c", "avx_vnni")),
    "avx2": (_AVX2, ("avx2", "fma", "f16c")),
    "plain": ((), ()),
}


def cpu_levels() -> list[str]:
    """The instruction sets that this machine has, the best first."""
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        # Elsewhere torch knows no more than this.
        has_avx2 = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
        words = {"avx2", "fma", "f16c"} if has_avx2 else set()
    return [level for level, (_, needed) in LEVELS.items() if words.issuperset(needed)]


def chosen_level() -> str:
    """The instruction set to use: the best, or that of ``PELUCHE_CPU``.

    Raises:
        ConfigError: there is none of this name, or the machine does not have it.
    """
    have, wanted = cpu_levels(), os.environ.get("PELUCHE_CPU")
    if not wanted:
        return have[0]
    if wanted not in have:
        close = nearest(wanted, have)
        raise ConfigError(
            f"this machine has no instruction set '{wanted}'",
            where="PELUCHE_CPU",
            remedy=f"one of {', '.join(have)}" + (f"; did you mean {close}?" if close else ""),
        )
    return wanted


def native_library() -> ctypes.CDLL | None:
    """The operator for this machine, compiled if need be; None, said once, where there is none."""
    if os.environ.get("PELUCHE_NATIVE") == "0":
        return None
    level = chosen_level()
    # It computes the same, for who asks for it; PyTorch reads prompts several times faster.
    if level == "plain" and not os.environ.get("PELUCHE_CPU"):
        _say_slow()
        return None
    return _library(level)


@functools.cache
def _say_slow() -> None:
    _say("this processor has no AVX2, which its operator needs; PyTorch does its work, slower")


@functools.cache
def _library(level: str) -> ctypes.CDLL | None:
    try:
        path = _built(level)
        library = ctypes.CDLL(str(path))
    except _Lost as lost:
        _say(f"{lost}; PyTorch does its work instead, several times slower")
        return None
    except OSError as error:
        _say(f"the compiled operator cannot be loaded ({error}); PyTorch does its work instead")
        return None
    if _has_one_thread(path):
        _say(
            "the operator has one thread, since its compiler knew no OpenMP; set CXX to another "
            f"compiler, or delete {path} once it does"
        )
    library.peluche_step.restype = ctypes.c_int64
    library.peluche_multiply.restype = None
    return library


class _Lost(Exception):
    """There can be no operator, and why."""


def _built(level: str) -> Path:
    here = Path(__file__).parent
    key = hashlib.sha256(f"{level} {platform.machine()} {sys.platform} {FLAGS}".encode())
    for source in SOURCES:
        key.update((here / source).read_bytes())
    compiler = _compiler()
    # Without a compiler that of any other will do.
    name = f"decoder-{level}-{key.hexdigest()[:16]}-{_known_as(compiler) if compiler else ''}"
    folder = cache_folder() / "native"
    if kept := _kept(folder, name):
        return kept
    if not compiler:
        raise _Lost("there is no C++ compiler (c++, g++, clang++ or $CXX)")
    if not _writable(folder):
        cache, folder = folder, _own_temporary_folder()
        _say(f"{cache} cannot be written: its operator is kept in {folder}, until that is cleared")
    with (folder / ".lock").open("w") as lock:
        # Processes that start together build once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _kept(folder, name) or _compile(level, compiler, here / SOURCES[0], folder / name)


def _kept(folder: Path, name: str) -> Path | None:
    """The library whose name begins so, one with threads before one without."""
    return min(folder.glob(f"{name}*.so"), key=_has_one_thread, default=None)


def _has_one_thread(library: Path) -> bool:
    return library.stem.endswith(ONE_THREAD)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w"):
            return True
    except OSError:
        return False


def _own_temporary_folder() -> Path:
    """A folder for this user alone: what lies in it is run."""
    folder = Path(tempfile.gettempdir()) / f"peluche-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise _Lost(f"neither the cache nor {folder} can be written ({error})") from None
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise _Lost(f"the cache cannot be written, and {folder} is not this user's alone")
    return folder


def _compile(level: str, compiler: list[str], source: Path, name: Path) -> Path:
    """The library, of this name and what it lacks."""
    _say(f"compiling its operator for this machine ({level}), once; some seconds")
    flags = [*compiler, *FLAGS, *LEVELS[level][0], str(source)]
    with tempfile.TemporaryDirectory(dir=name.parent) as folder:
        built = Path(folder) / "built.so"
        for threads in (["-fopenmp"], []):
            command = [*flags, *threads, "-o", str(built)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            except OSError as error:
                raise _Lost(f"{compiler[0]} cannot be run ({error})") from None
            if done.returncode == 0:
                break
        else:
            complaint = (done.stderr.strip().splitlines() or ["it says nothing"])[0]
            raise _Lost(f"{compiler[0]} cannot compile the operator ({complaint})")
        path = name.with_name(f"{name.name}{'' if threads else ONE_THREAD}.so")
        with replacing(path) as temporary:
            built.rename(temporary)
    return path


def _compiler() -> list[str] | None:
    """The C++ compiler: ``CXX``, or the first that is found."""
    if own := os.environ.get("CXX"):
        return shlex.split(own)
    return next(([name] for name in ("c++", "g++", "clang++") if shutil.which(name)), None)


def _known_as(compiler: list[str]) -> str:
    """A compiler's part of a name; another one may have the OpenMP that this one lacks."""
    program = os.path.realpath(shutil.which(compiler[0]) or compiler[0])
    return hashlib.sha256(shlex.join([program, *compiler[1:]]).encode()).hexdigest()[:8]


def _say(message: str) -> None:
    print(f"peluche: {message}", file=sys.stderr, flush=True)
