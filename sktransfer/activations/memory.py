"""Room for the activations of a whole set, in memory or in a temporary file."""

import os
import tempfile
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sktransfer._common.environment import memory_size


def allocate(shape: Sequence[int], dtype: torch.dtype, *, may_map: int = 0) -> Tensor:
    """A tensor on the CPU, not yet filled.

    Parameters
    ----------
    shape : sequence of int
    dtype : torch.dtype
    may_map : int
        Map a temporary file instead where so many tensors of this size are larger than
        `memory_size`; 0 for never. The file has no name any more, so the system frees it with
        the tensor or at the end of the process.

    Raises
    ------
    OSError
        If the disk has no room for the file.
    """
    if not may_map or may_map * _size(shape, dtype) <= memory_size():
        return torch.empty(tuple(shape), dtype=dtype)
    name = str(dtype).removeprefix("torch.")
    with tempfile.TemporaryFile(prefix="sktransfer-") as file:
        if hasattr(os, "posix_fallocate"):
            # Without blocks of its own for the whole file, a write to memory would end the
            # process by a signal where the disk is full; this raises OSError instead.
            os.posix_fallocate(file.fileno(), 0, _size(shape, dtype))
        return torch.from_numpy(np.memmap(file, dtype=name, mode="w+", shape=tuple(shape)))


def _size(shape: Sequence[int], dtype: torch.dtype) -> int:
    return int(np.prod(shape)) * dtype.itemsize
