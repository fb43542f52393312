"""Recognise that memory has run out, which each library tells in its own way."""

import torch

# torch's allocator for CPUs raises no class of its own.
_OF_THE_CPU = ("can't allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if an error means that the computer or a device has no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return type(error) is RuntimeError and any(text in str(error) for text in _OF_THE_CPU)
