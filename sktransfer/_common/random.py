"""Seed torch's random numbers within a block, and restore their state afterwards."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from sktransfer._common.forks import after_fork_in_child

# torch's global generator belongs to the whole process. A thread that seeds it holds this lock
# until the old state is restored; otherwise two fits in two threads would draw from one another.
_GENERATOR_LOCK = threading.RLock()


def _reset_after_fork() -> None:
    """Replace the lock, which a thread that does not exist in the child may hold."""
    global _GENERATOR_LOCK
    _GENERATOR_LOCK = threading.RLock()


after_fork_in_child(_reset_after_fork)


@contextlib.contextmanager
def seeded(seed: int, device: str = "cpu") -> Iterator[None]:
    """Run a block under torch's global generators set to `seed`, then restore them."""
    kind = torch.device(device).type
    own = [] if kind == "cpu" else [torch.device(device)]
    # fork_rng restores the CPU's generator in any case; "cuda" is a type that it knows
    # everywhere, and without devices it does not start CUDA.
    restored = torch.random.fork_rng(own, device_type="cuda" if kind == "cpu" else kind)
    with _GENERATOR_LOCK, restored:
        if kind == "cpu":
            # torch.manual_seed would also seed CUDA. Where CUDA is not started yet, it queues
            # that call together with a traceback, which takes longer than the seeding.
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)
        yield


class OwnGenerator(TorchFunctionMode):
    """Make `rand`, `randint`, `randperm` and `uniform_` use a generator of the block's own.

    They draw the same numbers as under `seeded`, but threads do not wait for one another. Use
    it only for code that is known to call no other random function.
    """

    _DRAWING = (torch.rand, torch.randint, torch.randperm, torch.Tensor.uniform_)

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in self._DRAWING:
            kwargs = {"generator": self._generator, **kwargs}
        return func(*args, **kwargs)


def derived_seed(*numbers: int) -> int:
    """Return a different seed for each sequence of numbers, such as a seed and an epoch."""
    # SeedSequence mixes its input. Seeds that are only summed would repeat: (0, 1) and (1, 0).
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
