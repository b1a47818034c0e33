"""What this machine is, and how to get the most of its memory allocator."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

import torch

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
