import pickle

import numpy as np
import pytest
import torch

from sktransfer import free_memory, load, save
from sktransfer._common.devices import available_devices, available_or_cpu, resolve_device
from sktransfer.exceptions import DeviceUnavailableError
from tests.conftest import make_pictures
from tests.small_estimators import make_classifier


@pytest.fixture
def machine(monkeypatch):
    """Make torch report the given devices, in addition to the CPU."""

    def pretend(n_cuda=0, has_mps=False):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n_cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_mps)

    return pretend


@pytest.mark.parametrize(
    ("n_cuda", "has_mps", "names"),
    [
        (0, False, ["cpu"]),
        (2, False, ["cuda:0", "cuda:1", "cpu"]),
        (0, True, ["mps", "cpu"]),
    ],
)
def test_auto_is_the_fastest_device(machine, n_cuda, has_mps, names):
    machine(n_cuda, has_mps)
    assert available_devices() == names
    assert resolve_device("auto") == names[0]


@pytest.mark.parametrize(
    ("asked", "name"),
    [("cpu", "cpu"), ("cpu:0", "cpu"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("mps", "mps")],
)
def test_names_are_made_complete(machine, asked, name):
    machine(2, has_mps=True)
    assert resolve_device(asked) == name


@pytest.mark.parametrize("asked", ["cuda", "cuda:2", "mps", "meta", "gpu", "", "cuda:x"])
def test_absent_devices_are_told_with_the_present_ones(machine, asked):
    machine(0)
    with pytest.raises(DeviceUnavailableError, match=r"'auto' or one of \['cpu'\]"):
        resolve_device(asked)


def test_cuda_of_a_parent_process_is_told(machine, monkeypatch):
    machine(1)
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    with pytest.raises(DeviceUnavailableError, match=r"forked after CUDA was started.*'loky'"):
        resolve_device("auto")
    assert resolve_device("cpu") == "cpu"


def test_a_pickled_device_that_is_gone_becomes_the_cpu(machine):
    machine(1)
    assert available_or_cpu("cuda:0") == "cuda:0"
    assert available_or_cpu("cuda:1") == "cpu"
    assert available_or_cpu("mps") == "cpu"


def test_a_computation_on_the_cpu_does_not_ask_for_gpus(monkeypatch, tmp_path):
    # To ask may start CUDA; see `resolve_device`. torch's own optimizers do so.
    def started():
        raise AssertionError("CUDA was started")

    X, y = make_pictures(8)
    for name in ("device_count", "is_available"):
        monkeypatch.setattr(torch.cuda, name, started)
    assert type(resolve_device(np.str_("cpu"))) is str
    classifier = make_classifier().fit(X, y)
    save(classifier, tmp_path / "model.skt")
    for each in (classifier, pickle.loads(pickle.dumps(classifier)), load(tmp_path / "model.skt")):
        each.predict(X)
    free_memory()
