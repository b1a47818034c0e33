"""What this machine is, and how to get the most of its memory allocator."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import resource
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

from peluche.errors import ConfigError

# glibc's mallopt(3) parameter numbers.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def tune_allocator() -> bool:
    """Ask glibc to keep freed memory instead of giving it back to the kernel.

    Tensors over 128 KiB are otherwise mapped and unmapped anew at every use, and the page faults
    cost as much as the arithmetic. Returns whether it could be done.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    settings = [(_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 << 20)]
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)


def give_back_memory() -> None:
    """Collect what only refers to itself, and return memory that `tune_allocator` keeps.

    For the end of what needs much: what comes next would otherwise be added to the peak.
    """
    gc.collect()
    trim_memory()


def trim_memory() -> None:
    """Return freed memory to the system, where glibc keeps it: much of it after loading a model."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def describe_machine() -> str:
    """One line: processor, cores used, device, torch version."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{name}, {torch.get_num_threads()} of {os.cpu_count()} cores, {device}, "
        f"torch {torch.__version__}"
    )


def use_threads(count: int) -> None:
    """Compute with so many threads from now on.

    Raises:
        ConfigError: more than the machine has cores.
    """
    cores = os.cpu_count() or 1
    if count > cores:
        raise ConfigError(
            f"{count} threads for the {cores} cores of this machine",
            where="threads",
            remedy=f"nearest that fits: {cores}",
        )
    torch.set_num_threads(count)


def product_rate(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """Floating-point operations a second that this machine does in square matrix products.

    The median of some products of 1024×1024 matrices, or 8192×8192 on a GPU, with as many threads
    as torch uses: what a share of the machine is measured against, in place of a table of peaks.
    Measured once in a process.
    """
    return _product_rate(device, dtype, torch.get_num_threads())


@cache
def _product_rate(device: torch.device, dtype: torch.dtype, threads: int) -> float:
    size, times = (8192 if device.type == "cuda" else 1024), []
    # Not random: nothing that is drawn here may change what training draws.
    left = torch.linspace(-1, 1, size * size, device=device).view(size, size).to(dtype)
    out = torch.empty_like(left)
    for _ in range(9):
        started = time.perf_counter()
        torch.mm(left, left, out=out)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return 2 * size**3 / sorted(times)[len(times) // 2]


def main_memory() -> int | None:
    """Bytes of this machine's main memory; None where that is not told."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def peak_memory(device: torch.device | None = None) -> int:
    """Bytes that this process had at most: of a GPU if `device` is one, else of main memory."""
    if device is not None and device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
