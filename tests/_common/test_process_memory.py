"""Which networks and engines a process keeps for later calls, and when it releases them."""

import os
import threading
from weakref import ref

import pytest
import torch
from torch import nn

from sktransfer import free_memory
from sktransfer._common import process_memory
from sktransfer._common.process_memory import get_or_prepare, tensor_bytes
from sktransfer.backbones.loading import load_backbone
from tests.small_estimators import make_extractor


class Thing:
    """An object that weak references can refer to."""


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    monkeypatch.setattr(process_memory, "_kept", type(process_memory._kept)())


@pytest.fixture
def made():
    """Keys of the objects that were prepared, in order."""
    return []


def keep(key, made, n_bytes=400, owner=None):
    def prepare():
        made.append(key)
        return Thing()

    return get_or_prepare(key, prepare, lambda _: n_bytes, owner)


def test_what_was_prepared_is_found_again(made):
    first = keep("a", made)
    assert keep("a", made) is first is not keep("b", made)
    assert made == ["a", "b"]


def test_as_many_as_there_is_room_for_by_their_bytes(made, monkeypatch):
    monkeypatch.setenv("SKTRANSFER_NETWORKS", "2kB")
    for _ in range(3):
        for key in "abcde":
            keep(key, made)
    assert made == list("abcde")


def test_the_least_recently_used_goes(made, monkeypatch):
    monkeypatch.setenv("SKTRANSFER_NETWORKS", "1000")
    for key in "abac":
        keep(key, made)
    assert list(process_memory._kept) == ["a", "c"]


def test_the_last_one_stays_however_large_it_is(made, monkeypatch):
    monkeypatch.setenv("SKTRANSFER_NETWORKS", "0")
    assert keep("a", made, 10**12) is keep("a", made, 10**12)
    keep("b", made)
    assert list(process_memory._kept) == ["b"]


def test_what_belongs_to_something_goes_with_it(made):
    owner = Thing()
    thing = ref(keep("a", made, owner=owner))
    keep("b", made)
    assert thing() is not None
    del owner
    keep("c", made)
    assert thing() is None


def test_a_failure_is_not_kept(made):
    with pytest.raises(ZeroDivisionError):
        get_or_prepare("a", lambda: 1 / 0, lambda _: 1)
    keep("a", made)
    assert made == ["a"]


def test_threads_that_prepare_the_same_at_once_get_the_same():
    together = threading.Barrier(2, timeout=60)
    got = []

    def prepare():
        together.wait()
        return Thing()

    threads = [
        threading.Thread(target=lambda: got.append(get_or_prepare("a", prepare, lambda _: 1)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert got[0] is got[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_does_not_wait_for_a_thread_that_it_left_behind():
    with process_memory._lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if process_memory._lock.acquire(blocking=False) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_shared_tensors_count_once():
    layer = nn.Linear(3, 5)
    assert tensor_bytes(layer, nn.Sequential(layer, nn.BatchNorm1d(5))) == 4 * (20 + 20) + 8


def test_free_memory_lets_go_of_networks_and_engines(pictures):
    free_memory()
    extractor = make_extractor()
    features = extractor.fit(pictures[0]).transform(pictures[0])
    assert len(process_memory._kept) == 2
    network = ref(load_backbone("mnasnet0_5", None))
    free_memory()
    assert not process_memory._kept
    assert network() is not None  # the fitted estimator still refers to it
    assert torch.equal(*map(torch.from_numpy, (features, extractor.transform(pictures[0]))))
    del extractor
    free_memory()
    assert network() is None


def test_one_call_after_the_other_of_five_extractors_prepares_nothing_again(pictures, monkeypatch):
    prepared, prepare_it = [], process_memory.get_or_prepare

    def counted(key, prepare, *rest, **options):
        return prepare_it(key, lambda: prepared.append(key) or prepare(), *rest, **options)

    monkeypatch.setattr("sktransfer.backbones.loading.get_or_prepare", counted)
    monkeypatch.setattr("sktransfer.activations.engines.choice.get_or_prepare", counted)
    stages = ["level1", "level2", "level3", "level4", None]
    extractors = [make_extractor(stage=stage).fit(pictures[0]) for stage in stages]
    for _ in range(3):
        for extractor in extractors:
            extractor.transform(pictures[0][:2])
    assert len(prepared) == 1 + len(stages)  # the network, and one engine for each stage


def test_a_limit_that_is_no_size_raises_each_time_before_anything_is_prepared(made, monkeypatch):
    monkeypatch.setenv("SKTRANSFER_NETWORKS", "lots")
    for _ in range(3):
        with pytest.raises(ValueError, match="SKTRANSFER_NETWORKS must be a size"):
            keep("a", made)
    assert made == []
