import ast
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import pytest
import torch

from sktransfer._common import threads as common_threads
from sktransfer._common.threads import computing, in_reading_threads, one_thread, reading_threads
from tests.conftest import HANGS


def test_one_thread_leaves_the_number_as_it_was():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with one_thread():
            assert torch.get_num_threads() == 1
        with pytest.raises(ZeroDivisionError), one_thread():
            raise ZeroDivisionError
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


# Reading threads.


@pytest.fixture
def eight_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)


@pytest.mark.parametrize(
    ("n_jobs", "n_threads"),
    [(None, 8), (1, 1), (3, 3), (20, 20), (-1, 8), (-2, 7), (-8, 1), (-99, 1)],
)
@pytest.mark.usefixtures("eight_threads")
def test_reading_threads_of_one_pass(n_jobs, n_threads):
    with reading_threads(n_jobs) as n:
        assert n == n_threads


@pytest.mark.usefixtures("eight_threads")
def test_passes_at_the_same_time_share_the_threads():
    with ExitStack() as passes:
        shares = [passes.enter_context(reading_threads(None)) for _ in range(10)]
        assert shares == [8, 4, 2, 2, 1, 1, 1, 1, 1, 1]
    with reading_threads(None) as n:
        assert n == 8


@pytest.mark.usefixtures("eight_threads")
def test_who_asks_for_a_number_gets_it_and_counts():
    with reading_threads(5), reading_threads(-1) as all_of_them, reading_threads(None) as share:
        assert all_of_them == 8
        assert share == 2


@pytest.mark.usefixtures("eight_threads")
def test_a_pass_that_fails_gives_its_threads_back():
    with pytest.raises(ZeroDivisionError), reading_threads(None):
        raise ZeroDivisionError
    with reading_threads(None) as n:
        assert n == 8


@pytest.mark.usefixtures("eight_threads")
def test_passes_in_threads_are_counted():
    n_passes, shares = 4, []
    begun, done = threading.Barrier(n_passes), threading.Barrier(n_passes)

    def read():
        begun.wait(HANGS)
        with reading_threads(None) as n:
            shares.append(n)
            done.wait(HANGS)

    threads = [threading.Thread(target=read) for _ in range(n_passes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANGS)
    assert sorted(shares) == [2, 2, 4, 8]
    assert common_threads._n_passes == 0


# Forks.

FORK = """
import os, signal, sys, threading, traceback, warnings
import numpy as np, torch
from sktransfer import PretrainedFeatureExtractor, PretrainedImageClassifier
from sktransfer._common import threads as common_threads
from sktransfer._common.random import seeded
from sktransfer._common.threads import computing, in_reading_threads, one_thread, reading_threads

warnings.filterwarnings("ignore", category=DeprecationWarning)  # of forks while there are threads
torch.set_num_threads(2)
X = np.random.default_rng(0).integers(0, 256, (16, 96, 96, 3), dtype=np.uint8)
small = {"weights": None, "image_size": 96, "device": "cpu", "engine": "torch"}

def in_child(function):
    mine, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(300)  # ends a child that hangs
        try:
            os.write(theirs, repr(function()).encode())
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(theirs)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child ended with {status}"
    print(os.read(mine, 1000).decode())
"""


def forked(code):
    """Run a script in a new process, and return the result that its forked child computed."""
    # A limit of one thread would leave nothing for a fork to lose.
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORK + code],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@needs_fork
def test_a_forked_child_computes_after_its_parent_did_with_several_threads():
    code = """
extractor = PretrainedFeatureExtractor("resnet18", **small).fit(X)
expected = extractor.transform(X)
assert torch.get_num_threads() == 2

def child():
    features = extractor.transform(X)
    close = np.allclose(features, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    return torch.get_num_threads(), close

in_child(child)
assert torch.get_num_threads() == 2
"""
    assert forked(code) == (1, True)


@needs_fork
def test_a_forked_child_computes_after_its_parent_did_not_but_loaded_the_weights():
    code = """
extractor = PretrainedFeatureExtractor("resnet18", **small).fit(X)
in_child(lambda: extractor.transform(X).shape)
"""
    assert forked(code) == (16, 512)


@needs_fork
def test_forks_of_a_host_that_only_imports_sktransfer_keep_their_threads():
    assert forked("in_child(torch.get_num_threads)") == 2


@needs_fork
def test_a_forked_child_computes_beside_the_threads_of_its_host_and_leaves_their_number():
    code = """
a = torch.ones(600, 600)
a @ a  # the host program computes with two threads, which the child does not have

def child():
    extractor = PretrainedFeatureExtractor("resnet18", **small).fit(X)
    return extractor.transform(X).shape, torch.get_num_threads()

in_child(child)
"""
    assert forked(code) == ((16, 512), 2)


@needs_fork
def test_threads_of_a_forked_child_that_compute_at_once_leave_the_hosts_number():
    code = """
import threading
from sktransfer._common.threads import fork_safe_threads

def child():
    inside, last = threading.Event(), threading.Event()
    counts = []

    def first():
        with fork_safe_threads():
            inside.set()
            last.wait(2)

    def second():
        inside.wait()
        with fork_safe_threads():
            last.set()
            one.join(2)

    one, two = threading.Thread(target=first), threading.Thread(target=second)
    later = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
    for thread in (one, two):
        thread.start()
    for thread in (one, two):
        thread.join()
    later.start()
    later.join()
    return counts

in_child(child)
"""
    assert forked(code) == [2]


@needs_fork
@pytest.mark.skipif(
    torch.cuda.is_available(), reason="where there is a GPU, torch refuses to train in the child"
)
def test_a_forked_child_trains_after_its_parent_did():
    code = """
y = np.arange(16) % 2
classifier = PretrainedImageClassifier(
    "resnet18", unfreeze_depth=1, max_epochs=1, random_state=0, **small
)
expected = classifier.fit(X, y).predict_proba(X)

def child():
    probabilities = classifier.fit(X, y).predict_proba(X)
    return torch.get_num_threads(), bool(np.allclose(probabilities, expected, atol=1e-3))

in_child(child)
"""
    assert forked(code) == (1, True)


@needs_fork
def test_locks_that_other_threads_held_do_not_bind_a_child():
    code = """
held, done = threading.Event(), threading.Event()

def hold():
    with computing(), seeded(0), reading_threads(None):
        held.set()
        done.wait()

other = threading.Thread(target=hold, daemon=True)
other.start()
held.wait()

def child():
    with computing(), seeded(0), reading_threads(None) as n:
        return n, common_threads._n_passes

in_child(child)
done.set()
other.join()
"""
    assert forked(code) == (1, 1)


def test_computing_leaves_the_threads_of_its_own_process():
    before = torch.get_num_threads()
    with computing():
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


def test_results_come_in_order_and_nothing_begins_after_an_error():
    assert in_reading_threads(lambda item: item * 2, range(50), 4) == list(range(0, 100, 2))
    begun = []

    def fails(item):
        begun.append(item)
        if item:
            time.sleep(0.01)  # all of them would take longer than any machine is busy
        raise ValueError(item)

    with pytest.raises(ValueError, match="0"):
        in_reading_threads(fails, range(10_000), 1)
    assert len(begun) < 10_000
