"""What is written survives a power cut: it is on the disk before it takes its place."""

import os
import sys
from pathlib import Path

import pytest
import torch

from peluche import files
from peluche.hub.tensors import write_tensors


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what a descriptor is")
@pytest.mark.parametrize("kind", ["text", "tensors"])
def test_files_are_synced_before_they_take_their_place(tmp_path, monkeypatch, kind):
    path, synced = tmp_path / "file", []

    def fsync(descriptor):
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        synced.append((Path(name) == tmp_path, path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    if kind == "text":
        files.write_text(path, "a bear")
    else:
        with files.replacing(path) as temporary:
            write_tensors(temporary, {"weight": torch.ones(3)})
    # The file while its place is empty, in the end the folder that names it.
    assert synced[0] == (False, False)
    assert synced[-1] == (True, True)
