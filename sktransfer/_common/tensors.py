"""Torch tensors as arrays of NumPy."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def numpy_of(values: Any) -> Any:
    """Return the array of a torch tensor, on whatever device it is, and anything else as it is.

    Helpers of scikit-learn would return tensors as tensors, or fail on them, while its
    ``array_api_dispatch`` is on.
    """
    if not isinstance(values, torch.Tensor):
        return values
    values = values.detach().cpu()
    # NumPy has no bfloat16.
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()


def bytes_of(tensor: Tensor) -> np.ndarray:
    """Return the values of a dense tensor as bytes, in the usual order of memory; ndarray, uint8.

    NumPy has no array for some dtypes, such as bfloat16.

    Raises
    ------
    TypeError
        If it is quantized: its bytes alone, without scale and zero point, are not its values.
    """
    if tensor.is_quantized:
        raise TypeError(
            f"A quantized tensor ({tensor.dtype}) can't be kept in a file or a cache. Use weights "
            "that are not quantized, or cache=None."
        )
    flat = tensor.detach().cpu().contiguous().flatten()
    # Of a single value, torch keeps any stride, and refuses to view it as bytes.
    return flat.as_strided(flat.shape, (1,)).view(torch.uint8).numpy()
