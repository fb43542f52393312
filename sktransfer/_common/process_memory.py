"""What the process keeps for the next call: networks, and the engines that run them."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar
from weakref import ref

import torch

from sktransfer._common.environment import networks_size
from sktransfer._common.forks import in_forked_children

T = TypeVar("T")


class _Kept(NamedTuple):
    thing: Any
    n_bytes: int
    owner: "ref[Any] | None"


# The most recently used is the last.
_kept: OrderedDict[Hashable, _Kept] = OrderedDict()
_lock = threading.Lock()


_of_the_parent: list[_Kept] = []


def _begin_again() -> None:
    """Begin anew in the child of a fork, whose threads are gone.

    One of them may hold the lock. Engines that had threads can't even be taken down without
    them: they are left alone, which costs the child no memory of its own.
    """
    global _lock
    _lock = threading.Lock()
    for key, known in list(_kept.items()):
        if known.owner is not None:
            _of_the_parent.append(_kept.pop(key))


in_forked_children(_begin_again)


def kept(
    key: Hashable, prepare: Callable[[], T], size: Callable[[T], int], owner: object = None
) -> T:
    """What was prepared earlier in this process under `key`, or is now.

    Kept are the most recently used, as far as `networks_size` goes; the last one always.

    Parameters
    ----------
    key : hashable
    prepare : callable
    size : callable
        From what was prepared to its bytes.
    owner : object, optional
        Without which it is of no use: it goes when that goes.
    """
    limit = networks_size()  # raises before anything is prepared, and each time
    with _lock:
        found = _kept.get(key)
        if found is not None:
            _kept.move_to_end(key)
            return found.thing
    thing = prepare()  # takes seconds, in which others may look something up
    with _lock:
        new = _Kept(thing, size(thing), None if owner is None else ref(owner))
        first = _kept.setdefault(key, new)  # another thread may have been faster
        _kept.move_to_end(key)
        _drop_some(limit)
    return first.thing


def _drop_some(limit: int) -> None:
    for key, known in list(_kept.items()):
        if known.owner is not None and known.owner() is None:
            del _kept[key]
    total = sum(known.n_bytes for known in _kept.values())
    while total > limit and len(_kept) > 1:
        total -= _kept.popitem(last=False)[1].n_bytes


def tensor_bytes(*modules: torch.nn.Module) -> int:
    """Bytes of the tensors in modules; those that they share count once."""
    tensors = [tensor for m in modules for tensor in (*m.parameters(), *m.buffers())]
    return sum({t.data_ptr(): t.nbytes for t in tensors if not t.is_meta}.values())


def free_memory() -> None:
    """Let go of the networks and engines that the process keeps for the next call.

    The first call of any estimator after it loads its network, or converts it, again. An
    estimator that is fitted keeps its network as long as it lives. On a GPU, torch's own
    reserve of free memory is given back too.

    How much is kept, the environment variable ``SKTRANSFER_NETWORKS`` says: by default 4 GB of
    what was used last.

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
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
