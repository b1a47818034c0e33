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
    return _library(chosen_level())


@functools.cache
def _library(level: str) -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(str(_built(level)))
    except _Lost as lost:
        _say(f"{lost}; generating with torch instead, several times slower")
        return None
    except OSError as error:
        _say(f"the compiled operator cannot be loaded ({error}); generating with torch instead")
        return None
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
    name = f"decoder-{level}-{key.hexdigest()[:16]}.so"
    kept = cache_folder() / "native" / name
    if kept.is_file():
        return kept
    folder = _writable(kept.parent)
    if folder is None:
        folder = _own_temporary_folder()
    path = folder / name
    with (folder / ".lock").open("w") as lock:
        # Processes that start together build once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file():
            _compile(level, here / SOURCES[0], path)
    return path


def _writable(folder: Path) -> Path | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w"):
            return folder
    except OSError:
        return None


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


def _compile(level: str, source: Path, path: Path) -> None:
    compiler = _compiler()
    _say(f"compiling its operator for this machine ({level}), once; some seconds")
    flags = [*compiler, *FLAGS, *LEVELS[level][0], str(source)]
    with replacing(path) as temporary:
        for threads in (["-fopenmp"], []):
            command = [*flags, *threads, "-o", str(temporary)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            except OSError as error:
                raise _Lost(f"{compiler[0]} cannot be run ({error})") from None
            if done.returncode == 0:
                break
        else:
            complaint = (done.stderr.strip().splitlines() or ["it says nothing"])[0]
            raise _Lost(f"{compiler[0]} cannot compile the operator ({complaint})")
    if not threads:
        _say(f"{compiler[0]} knows no OpenMP: the operator has one thread")


def _compiler() -> list[str]:
    """The C++ compiler: ``CXX``, or the first that is found."""
    if own := os.environ.get("CXX"):
        return shlex.split(own)
    for name in ("c++", "g++", "clang++"):
        if shutil.which(name):
            return [name]
    raise _Lost("there is no C++ compiler (c++, g++, clang++ or $CXX)")


def _say(message: str) -> None:
    print(f"peluche: {message}", file=sys.stderr, flush=True)
