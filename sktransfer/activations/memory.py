"""Room for the activations of a whole set, in memory or in a temporary file."""

import os
import tempfile
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sktransfer._common.environment import memory_size
from sktransfer._common.memory_errors import telling_of_memory


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
    DeviceMemoryError
        If the memory has no room for the tensor.
    """
    if may_map and may_map * _size(shape, dtype) > memory_size():
        return _mapped(shape, dtype)
    remedy = (
        f"The memory has no room for {_size(shape, dtype):,} bytes of activations. Set the "
        "environment variable SKTRANSFER_MEMORY to less than that, and a fit keeps them in a "
        "temporary file; or use fewer pictures or a smaller image_size."
    )
    with telling_of_memory(remedy):
        return torch.empty(tuple(shape), dtype=dtype)


def _mapped(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    name = str(dtype).removeprefix("torch.")
    with tempfile.TemporaryFile(prefix="sktransfer-") as file:
        if hasattr(os, "posix_fallocate"):
            # Without blocks of its own for the whole file, a write to memory would end the
            # process by a signal where the disk is full; this raises OSError instead.
            try:
                os.posix_fallocate(file.fileno(), 0, _size(shape, dtype))
            except OSError as error:
                reason = (
                    f"{error.strerror}: no room for {_size(shape, dtype):,} bytes of activations. "
                    "Let the environment variable TMPDIR name a folder on a larger disk, or raise "
                    "SKTRANSFER_MEMORY, which says how much is kept in memory"
                )
                raise OSError(error.errno, reason, tempfile.gettempdir()) from error
        return torch.from_numpy(np.memmap(file, dtype=name, mode="w+", shape=tuple(shape)))


def _size(shape: Sequence[int], dtype: torch.dtype) -> int:
    return int(np.prod(shape)) * dtype.itemsize
