"""Keep networks, and the engines that run them, for later calls in the same process."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar
from weakref import ref

import torch

from sktransfer._common.environment import networks_size
from sktransfer._common.forks import after_fork_in_child

T = TypeVar("T")


class _Entry(NamedTuple):
    thing: Any
    n_bytes: int
    owner: "ref[Any] | None"


# From the least to the most recently used.
_kept: OrderedDict[Hashable, _Entry] = OrderedDict()
_lock = threading.Lock()


# In the child of a fork, entries of its parent that must neither be used nor deleted.
_engines_of_parent: list[_Entry] = []


def _reset_after_fork() -> None:
    """Replace the lock, and set the engines of the parent aside.

    An engine's threads do not exist in the child, and deleting the engine would wait for them.
    Its memory is shared with the parent, so keeping it costs little.
    """
    global _lock
    _lock = threading.Lock()
    for key, entry in list(_kept.items()):
        if entry.owner is not None:  # engines have an owner, networks have none
            _engines_of_parent.append(_kept.pop(key))


after_fork_in_child(_reset_after_fork)


def get_or_prepare(
    key: Hashable, prepare: Callable[[], T], size: Callable[[T], int], owner: object = None
) -> T:
    """Return the object kept under `key`, after preparing it if there is none.

    When all objects together exceed the limit of `networks_size`, those not used for the
    longest time are dropped. The object that is returned stays, even if it exceeds the limit
    alone.

    Parameters
    ----------
    key : hashable
    prepare : callable
        Called without arguments to make the object.
    size : callable
        Called with the object, returns its size in bytes.
    owner : object, optional
        The object is dropped when its owner has been deleted.
    """
    # Read first, so that an invalid value of the variable raises on every call, and before
    # seconds are spent on preparing.
    limit = networks_size()
    with _lock:
        found = _kept.get(key)
        if found is not None:
            _kept.move_to_end(key)
            return found.thing
    # Without the lock: other threads need not wait for this object to use theirs.
    thing = prepare()
    with _lock:
        new = _Entry(thing, size(thing), None if owner is None else ref(owner))
        # If another thread has prepared the same object meanwhile, both return that one.
        first = _kept.setdefault(key, new)
        _kept.move_to_end(key)
        _evict(limit)
    return first.thing


def _evict(limit: int) -> None:
    for key, entry in list(_kept.items()):
        if entry.owner is not None and entry.owner() is None:
            del _kept[key]
    total = sum(entry.n_bytes for entry in _kept.values())
    while total > limit and len(_kept) > 1:
        total -= _kept.popitem(last=False)[1].n_bytes


def tensor_bytes(*modules: torch.nn.Module) -> int:
    """Return the size of all tensors of the modules in bytes; shared tensors count once."""
    tensors = [tensor for m in modules for tensor in (*m.parameters(), *m.buffers())]
    return sum({t.data_ptr(): t.nbytes for t in tensors if not t.is_meta}.values())


def free_memory() -> None:
    """Release the networks and engines that the process keeps for later calls.

    The next call of an estimator loads or converts its network again. A fitted estimator keeps
    its own network for as long as the estimator exists. On a GPU, the memory that torch holds
    in reserve is released too.

    The environment variable ``SKTRANSFER_NETWORKS`` limits how much is kept. By default, 4 GB
    of the most recently used networks and engines are kept.

    Examples
    --------
    >>> from sktransfer import PretrainedFeatureExtractor, free_memory, load_clipart
    >>> paths, _ = load_clipart(return_X_y=True)
    >>> extractor = PretrainedFeatureExtractor("efficientnet_lite0").fit(paths[:1])
    >>> free_memory()
    >>> extractor.transform(paths[:1]).shape
    (1, 1280)
    """
    with _lock:
        _kept.clear()
    # Not is_available(): see `resolve_device`.
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
