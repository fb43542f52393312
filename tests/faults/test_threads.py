"""Sixteen threads with shared and own estimators, and all ways to start a process."""

import multiprocessing
import os
import random
import threading
import time
import warnings

import joblib
import numpy as np
import pytest
import torch
from joblib.externals.loky import get_reusable_executor

from tests.conftest import HANGS, make_pictures
from tests.faults.children import in_child
from tests.small_estimators import make_classifier, make_extractor

N_THREADS = 16
X, Y = make_pictures(24, 16)
KINDS = (
    {},
    {"hidden_layer_sizes": (4,), "max_epochs": 3},
    {"unfreeze_depth": 1, "max_epochs": 1},
    {"hidden_layer_sizes": (4,), "dropout": 0.5, "mc_dropout": 2, "max_epochs": 2},
)


def classifier(kind, **parameters):
    return make_classifier(image_size=16, batch_size=8, **KINDS[kind], **parameters)


def extractor(**parameters):
    return make_extractor(image_size=16, batch_size=8, **parameters)


def results(kind=0, folder=None):
    """What an estimator of one's own comes to, with a cache and checkpoints in the folder."""
    model = classifier(kind, cache=folder, checkpoint_dir=folder).fit(X, Y)
    return [
        model.predict_proba(X),
        (model.predict(X) == Y).astype(float),
        extractor(cache=folder).fit_transform(X),
    ]


def global_state():
    """Numbers of threads, and the states of global random generators."""
    return (
        torch.get_num_threads(),
        torch.random.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
    )


def differences(folder, seconds):
    """Run all threads: what they found to be wrong, how often each has come round, and more."""
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", message="Training ended after")
    expected = [results(kind) for kind in range(len(KINDS))]
    shared, features = [classifier(kind).fit(X, Y) for kind in range(len(KINDS))], extractor()
    features.fit(X)
    torch.set_num_threads(2)
    before = global_state()
    wrong, rounds = [], [0] * N_THREADS
    end = time.monotonic() + seconds
    together = threading.Barrier(N_THREADS)

    def check(what, found, right):
        # Activations from the cache were computed in other batches.
        if not np.allclose(found, right, rtol=1e-4, atol=1e-3 if "own" in what else 1e-5):
            wrong.append(f"{what}: off by {np.abs(found - right).max()}")

    def work(number):
        kind = number % len(KINDS)
        own_folder = folder if number % 3 == 0 else None
        together.wait()
        try:
            while not rounds[number] or time.monotonic() < end:
                if number == 1:  # all others go on predicting with it
                    shared[0].fit(X, Y)
                for found, right in zip(results(kind, own_folder), expected[kind], strict=True):
                    check(f"own {kind}", found, right)
                check(f"shared {kind}", shared[kind].predict_proba(X), expected[kind][0])
                check("shared 0", shared[0].predict_proba(X[::-1]), expected[0][0][::-1])
                check("shared extractor", features.transform(X), expected[0][2])
                rounds[number] += 1
        except BaseException as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(N_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANGS)
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("sktransfer")]
    return wrong, rounds, [t.is_alive() for t in threads], left, global_state() == before


@pytest.mark.parametrize("seconds", [0, pytest.param(120, marks=pytest.mark.slow)])
def test_sixteen_threads_find_what_one_finds(tmp_path, seconds):
    wrong, rounds, alive, left, is_as_before = in_child(differences, tmp_path, seconds)
    assert not any(alive), "a deadlock"
    assert wrong == []
    assert min(rounds) > 0
    assert left == []
    assert is_as_before


# Processes.


def quiet_results():
    torch.set_num_threads(1)  # more of them round differently
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return results()


def in_processes(start):
    """The results of two processes that are started in one way, and of this one."""
    if start == "loky":
        found = joblib.Parallel(2, backend="loky")(joblib.delayed(quiet_results)() for _ in "12")
        get_reusable_executor().shutdown(wait=True)  # its processes would wait for more work
    elif start == "dask":
        found = _in_dask()
    else:
        quiet_results()  # a fork of a process that has computed is the harder case
        with multiprocessing.get_context(start).Pool(2) as pool:
            found = [pool.apply_async(quiet_results) for _ in "12"]
            found = [each.get(HANGS) for each in found]
    return [*found, quiet_results()]


def _in_dask():
    import distributed

    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        return client.gather([client.submit(quiet_results, pure=False) for _ in "12"])


@pytest.mark.parametrize(
    "start",
    [
        pytest.param("fork", marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")),
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("spawn", "loky", "dask")),
    ],
)
def test_processes_find_what_this_one_finds(start):
    if start == "dask":
        pytest.importorskip("distributed")
    *others, own = in_child(in_processes, start)
    for found in others:
        for values, right in zip(found, own, strict=True):
            np.testing.assert_allclose(values, right, rtol=1e-4, atol=1e-5)
