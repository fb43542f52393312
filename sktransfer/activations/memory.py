"""Room for the activations of a whole set, in memory or in a temporary file."""

import tempfile
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sktransfer._settings import memory_size


def allocate(shape: Sequence[int], dtype: torch.dtype, *, may_map: bool = False) -> Tensor:
    """A tensor on the CPU, not yet filled.

    Parameters
    ----------
    shape : sequence of int
    dtype : torch.dtype
    may_map : bool
        Map a temporary file instead where the tensor is larger than `memory_size`. The
        file has no name any more and goes with the tensor, or with the process.
    """
    if not may_map or int(np.prod(shape)) * dtype.itemsize <= memory_size():
        return torch.empty(tuple(shape), dtype=dtype)
    name = str(dtype).removeprefix("torch.")
    with tempfile.TemporaryFile(prefix="sktransfer-") as file:
        return torch.from_numpy(np.memmap(file, dtype=name, mode="w+", shape=tuple(shape)))
