"""The allocator: what is freed goes back to the system."""

import ctypes
import sys
from pathlib import Path

import pytest
import torch

from peluche.nn.machine import give_back_memory, trim_memory

PIECES = 800


def held() -> int:
    """Bytes of this process in main memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is Linux's")
@pytest.mark.parametrize("give_back", [trim_memory, give_back_memory])
def test_freed_memory_goes_back(give_back):
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("this C library is not glibc")
    # Of less than what malloc maps for itself, with one at the end that is kept.
    pieces = [torch.ones(25_000) for _ in range(PIECES)]
    before, kept = held(), pieces.pop()
    pieces.clear()
    give_back()
    assert before - held() > 0.8 * PIECES * kept.nbytes
