"""Converted networks alone in a store; tests of the cache put them beside activations."""

import numpy as np
import pytest

from sktransfer.activations.store import models
from sktransfer.activations.store.database import Store
from sktransfer.activations.store.models import get_model, put_model

KEY = bytes(32)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path, 10**8) as store:
        yield store


def test_a_network_that_was_never_put_is_not_there(store):
    assert get_model(store, KEY) is None


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 3000, 3500])
def test_networks_of_all_sizes_are_read_back(store, monkeypatch, size):
    monkeypatch.setattr(models, "_PART", 1000)
    model = np.random.default_rng(size).bytes(size)
    put_model(store, KEY, model)
    assert get_model(store, KEY) == model
    assert store.counts()["rows"] == 0  # no activations


def test_a_network_replaces_the_one_before(store):
    put_model(store, KEY, b"one")
    put_model(store, KEY, b"two")
    assert get_model(store, KEY) == b"two"


def test_networks_that_would_fill_the_store_are_not_kept(tmp_path, caplog):
    caplog.set_level("INFO", "sktransfer")
    with Store(tmp_path, 2 * 10**6) as store:
        put_model(store, KEY, bytes(1_500_000))
        assert get_model(store, KEY) is None
    assert "1500000 bytes is too large" in caplog.text
