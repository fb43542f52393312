"""Share the process's threads among computations and readers, also after a fork."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from sktransfer._common.forks import after_fork_in_child
from sktransfer._common.warning import users_line, warning_at

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# Each computation uses all of torch's threads, so two at once, in two threads of a parallel
# search, would only slow each other down.
_COMPUTE_LOCK = threading.RLock()

# OpenMP's threads do not survive a fork: if the parent has used several, a child that asks for
# several waits for them forever. Threads that the host program used itself can't be detected,
# so only those that sktransfer used are recorded.
_forked = False
_had_several_threads = False


@contextlib.contextmanager
def fork_safe_threads() -> Iterator[None]:
    """Limit torch to threads that survive a fork, within the block.

    In the child of a fork this is one thread; a pool of forked workers has about one core per
    worker anyway. The previous number of threads is restored afterwards. In other processes
    nothing changes.
    """
    global _had_several_threads
    if not _forked:
        _had_several_threads |= torch.get_num_threads() > 1
        yield
        return
    with one_thread():
        yield


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run a block with one thread of torch's, and restore the number afterwards."""
    # One block at a time: if two overlapped, the second would read 1 as the previous number,
    # and restore that.
    with _COMPUTE_LOCK:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextlib.contextmanager
def computing() -> Iterator[None]:
    """Run a block while no other thread of the process runs such a block."""
    with _COMPUTE_LOCK, fork_safe_threads():
        yield


def _reset_after_fork() -> None:
    """Replace locks and counts of threads that do not exist in the child."""
    global _COMPUTE_LOCK, _PASSES_LOCK, _n_passes, _forked
    _COMPUTE_LOCK = threading.RLock()
    _PASSES_LOCK, _n_passes = threading.Lock(), 0
    _forked = True
    # Outside of the library's own blocks too: a computation of the host program would otherwise
    # wait for the threads that sktransfer started in the parent.
    if _had_several_threads:
        torch.set_num_threads(1)


after_fork_in_child(_reset_after_fork)

# How many passes over pictures are reading at the moment, in all threads of the process.
_n_passes = 0
_PASSES_LOCK = threading.Lock()


@contextlib.contextmanager
def reading_threads(n_jobs: int | None) -> Iterator[int]:
    """Yield the number of threads that decode pictures while the block runs.

    The default is torch's thread count, because it respects ``OMP_NUM_THREADS``, the affinity
    of the process and joblib's limits inside its workers. Passes that run at the same time in
    threads of one process share it. In the child of a fork the default is one thread. Negative
    numbers count back from the default, as in joblib.
    """
    global _n_passes
    limit = 1 if _forked else torch.get_num_threads()
    with _PASSES_LOCK:
        _n_passes += 1
    try:
        if n_jobs is None:
            yield max(1, limit // _n_passes)
        else:
            yield n_jobs if n_jobs > 0 else max(1, limit + 1 + n_jobs)
    finally:
        with _PASSES_LOCK:
            _n_passes -= 1


def in_reading_threads(
    function: Callable[[_Item], _Result], items: Iterable[_Item], n_jobs: int | None = None
) -> list[_Result]:
    """Results of a function for each item, such as the row of a picture, in their order.

    Warnings point at the user's line. After an error or Ctrl-C, no further item is begun.

    Parameters
    ----------
    function : callable
    items : iterable
    n_jobs : int, optional
        Number of threads, as `reading_threads` counts them.
    """
    line = users_line()

    def called(item: _Item) -> _Result:
        with warning_at(line):
            return function(item)

    with (
        reading_threads(n_jobs) as n_threads,
        ThreadPoolExecutor(n_threads, thread_name_prefix="sktransfer-reader") as pool,
    ):
        try:
            return list(pool.map(called, items))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
