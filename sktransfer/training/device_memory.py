"""Computations that a device may be too small for."""

import contextlib
from collections.abc import Iterator

from sktransfer._common.memory_errors import telling_of_memory
from sktransfer._common.threads import computing
from sktransfer.training.settings import TrainingSettings


@contextlib.contextmanager
def computing_within_memory(settings: TrainingSettings) -> Iterator[None]:
    """Run a block as `computing` does, and tell what helps if the device is too small for it.

    Raises
    ------
    DeviceMemoryError
        If the device runs out of memory within the block.
    """
    remedy = (
        f"Training ran out of memory on {settings.device} at batch_size={settings.batch_size}. "
        "Use a smaller batch_size or unfreeze_depth, or device='cpu'."
    )
    with telling_of_memory(remedy), computing():
        yield
