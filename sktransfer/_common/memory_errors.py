"""Recognise that memory has run out, which each library tells in its own way."""

import contextlib
from collections.abc import Iterator

import torch

from sktransfer.exceptions import DeviceMemoryError

# torch's allocator for CPUs raises no class of its own.
_OF_THE_CPU = ("can't allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if an error means that the computer or a device has no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return type(error) is RuntimeError and any(text in str(error) for text in _OF_THE_CPU)


@contextlib.contextmanager
def telling_of_memory(remedy: str) -> Iterator[None]:
    """Run a block, and tell what helps if memory runs out in it.

    Parameters
    ----------
    remedy : str
        The message of the error that is raised. ``{error}`` in it is replaced by the message of
        the error that happened.

    Raises
    ------
    DeviceMemoryError
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceMemoryError(remedy.replace("{error}", str(error))) from error
