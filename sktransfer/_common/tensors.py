"""Take torch tensors where arrays are meant."""

from typing import Any

import torch


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
