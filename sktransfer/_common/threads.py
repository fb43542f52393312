"""Threads that compute and threads that read, of which a process has only so many."""

import contextlib
import threading
from collections.abc import Iterator

import torch

from sktransfer._common.forks import in_forked_children

# One computation at a time: each uses all threads that torch may use, so two at once, in
# two threads of a parallel search, would only be in each other's way.
_COMPUTING = threading.RLock()

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
    global _COMPUTING, _COUNTING, _readers, _forked
    _COMPUTING = threading.RLock()
    _COUNTING, _readers = threading.Lock(), 0
    _forked = True
    if _had_several_threads:  # else the host's own computing would wait for our threads
        torch.set_num_threads(1)


in_forked_children(_begin_again)

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
