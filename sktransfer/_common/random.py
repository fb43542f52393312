"""torch's random numbers: seeded for a block, and as they were afterwards."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from sktransfer._common.forks import in_forked_children

# torch's global generator belongs to the whole process. Whoever seeds it holds this
# lock until the old state is back, so that two fits in two threads cannot mix.
_GLOBAL_RANDOM_STATE = threading.RLock()


def _begin_again() -> None:
    """Free what another thread held at a fork; in the child it is gone."""
    global _GLOBAL_RANDOM_STATE
    _GLOBAL_RANDOM_STATE = threading.RLock()


in_forked_children(_begin_again)


@contextlib.contextmanager
def seeded(seed: int, device: str = "cpu") -> Iterator[None]:
    """Run a block under torch's global generators set to `seed`, then restore them."""
    kind = torch.device(device).type
    own = [] if kind == "cpu" else [torch.device(device)]
    # For the CPU, whose state is kept in any case, the kind means nothing.
    kept = torch.random.fork_rng(own, device_type="cuda" if kind == "cpu" else kind)
    with _GLOBAL_RANDOM_STATE, kept:
        if kind == "cpu":  # the same, without writing down the whole stack for a CUDA to come
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)
        yield


class OwnGenerator(TorchFunctionMode):
    """A block whose `rand`, `randint`, `randperm` and `uniform_` have a generator to themselves.

    They give what they would under `seeded`, but threads need not wait for each other. For
    code that is known to draw in no other way.
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
    """A seed of its own for each sequence of numbers, such as a seed and an epoch."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
