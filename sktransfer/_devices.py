"""Devices, threads and random state: what a process shares and must get back as it was."""

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from sktransfer.exceptions import DeviceUnavailableError

# torch's global generator belongs to the whole process. Whoever seeds it holds this
# lock until the old state is back, so that two fits in two threads cannot mix.
_GLOBAL_RANDOM_STATE = threading.RLock()
# One computation at a time: each uses all threads that torch may use, so two at once, in
# two threads of a parallel search, would only be in each other's way.
_COMPUTING = threading.RLock()


def available_devices() -> list[str]:
    """Names of the devices that torch can use on this machine, fastest first."""
    names = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def resolve_device(device: str) -> str:
    """Name of a device that exists, from what the user asked for.

    Parameters
    ----------
    device : str
        ``"auto"`` (CUDA, then MPS, then CPU) or a torch device string.

    Returns
    -------
    str
        For example ``"cpu"``, ``"mps"`` or ``"cuda:1"``.

    Raises
    ------
    DeviceUnavailableError
        If the device is unknown or absent.
    """
    present = available_devices()
    name = present[0] if device == "auto" else _canonical(device, present)
    if name not in present:
        raise DeviceUnavailableError(
            f"device={device!r} is not available on this machine. "
            f"Use device='auto' or one of {present}."
        )
    if name.startswith("cuda") and torch.cuda._is_in_bad_fork():
        raise DeviceUnavailableError(
            f"device={device!r} can't be used in a process that was forked after CUDA was started, "
            "as joblib's 'multiprocessing' backend does. Use the 'loky' backend, or device='cpu'."
        )
    return name


def _canonical(device: str, present: list[str]) -> str:
    try:
        asked = torch.device(device)
    except RuntimeError as error:
        raise DeviceUnavailableError(
            f"device={device!r} is not a torch device. Use 'auto' or one of {present}."
        ) from error
    return asked.type if asked.type != "cuda" else f"cuda:{asked.index or 0}"


def available_or_cpu(device: str) -> str:
    """The same device if this machine has it, else the CPU (for unpickling)."""
    return device if device in available_devices() else "cpu"


def with_float64(device: str) -> str:
    """The same device, or the CPU where it has no float64, as Apple's MPS has none."""
    return "cpu" if device == "mps" else device


# OpenMP's threads do not survive a fork: a child that asks for several waits for them for
# ever, if its parent had any. Whether the host program had cannot be known; whether
# sktransfer had is known.
_forked = False
_had_several_threads = False


@contextlib.contextmanager
def surviving_threads() -> Iterator[None]:
    """Let torch compute in a block on threads that there are.

    In the child of a fork that is one (a pool of forked workers has a core for each anyway);
    the host's own number is back afterwards.
    """
    global _had_several_threads
    if not _forked:
        _had_several_threads |= torch.get_num_threads() > 1
        yield
        return
    # One block at a time: of two, the one that ends last would leave the other's number behind.
    with _COMPUTING:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextlib.contextmanager
def computing() -> Iterator[None]:
    """Run a block while no other thread of the process is in such a block."""
    with _COMPUTING, surviving_threads():
        yield


def _begin_again() -> None:
    """Free what other threads held at a fork; in the child they are gone."""
    global _COMPUTING, _GLOBAL_RANDOM_STATE, _COUNTING, _readers, _forked
    _COMPUTING, _GLOBAL_RANDOM_STATE = threading.RLock(), threading.RLock()
    _COUNTING, _readers = threading.Lock(), 0
    _forked = True
    if _had_several_threads:  # else the host's own computing would wait for our threads
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)

_readers = 0
_COUNTING = threading.Lock()


@contextlib.contextmanager
def reading_threads(n_jobs: int | None) -> Iterator[int]:
    """Number of threads that decode pictures while the block runs.

    torch's own thread count respects ``OMP_NUM_THREADS``, the process's affinity and
    joblib's limits inside its workers, so it is the default; passes that run at the same
    time in threads of one process share it. In the child of a fork one is the default.
    Negative numbers count back from the default as joblib's do.
    """
    global _readers
    limit = 1 if _forked else torch.get_num_threads()
    with _COUNTING:
        _readers += 1
    try:
        if n_jobs is None:
            yield max(1, limit // _readers)
        else:
            yield n_jobs if n_jobs > 0 else max(1, limit + 1 + n_jobs)
    finally:
        with _COUNTING:
            _readers -= 1


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
