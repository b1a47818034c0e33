"""Tensors that are divided among processes ⇄ a folder of safetensors files, one a process.

Each process writes its parts; whoever reads them, with as many processes or others, gets the parts
that it asks for (`torch.distributed.checkpoint`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor

from peluche.errors import CheckpointError

if TYPE_CHECKING:
    # Seconds to import, and of use to several processes only.
    from torch.distributed.tensor import DTensor

# Of a tensor's name, shape and type: memory for it, divided as the reader has it.
Place = Callable[[str, torch.Size, torch.dtype], Tensor]


def is_divided(tensor: object) -> TypeGuard[DTensor]:
    """Whether a tensor is divided among processes."""
    return hasattr(tensor, "device_mesh")


def write_sharded(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write the parts of every process; all call this together.

    Raises:
        OSError: a file cannot be written.
    """
    from torch.distributed import checkpoint

    writer = checkpoint.HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        with _quiet():
            checkpoint.save(dict(tensors), storage_writer=writer)
    except checkpoint.CheckpointException as error:
        # Of what happened in any process, the first thing that a person can mend.
        causes = [cause for cause, _ in error.failures.values()]
        raise next((one for one in causes if isinstance(one, OSError)), causes[0]) from None


def read_sharded(folder: Path, place: Place) -> dict[str, Tensor]:
    """Read what each process has a place for; where there are several, all call this together.

    Raises:
        CheckpointError: the files do not belong together.
    """
    from torch import distributed
    from torch.distributed import checkpoint

    reader = checkpoint.HuggingFaceStorageReader(str(folder))
    try:
        with _quiet():
            found = reader.read_metadata().state_dict_metadata
            tensors = {
                name: place(name, entry.size, entry.properties.dtype)
                for name, entry in found.items()
                if isinstance(entry, checkpoint.TensorStorageMetadata)
            }
            checkpoint.load(
                tensors, storage_reader=reader, no_dist=not distributed.is_initialized()
            )
    except (
        ValueError,
        KeyError,
        AssertionError,
        AttributeError,
        checkpoint.CheckpointException,
    ) as error:
        raise CheckpointError(
            f"the files of a divided state do not belong together ({error})",
            where=folder,
            remedy="use another state",
        ) from None
    return tensors


def placed(tensors: Mapping[str, Tensor], place: Place) -> dict[str, Tensor]:
    """Whole tensors, divided as the reader has them."""
    return {
        name: _divided(tensor, place(name, tensor.shape, tensor.dtype))
        for name, tensor in tensors.items()
    }


def _divided(tensor: Tensor, like: Tensor) -> Tensor:
    if not is_divided(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    # Every process has read all of it: nothing has to be sent.
    return distribute_tensor(
        tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """The library warns of its own defaults."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
