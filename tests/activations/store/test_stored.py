"""Stored activations of one network and one set of pictures."""

from types import SimpleNamespace

import pytest
import torch

from sktransfer.activations.store import stored as stored_module
from sktransfer.activations.store.cache import Cache
from sktransfer.activations.store.stored import StoredActivations
from sktransfer.images.sources import as_images
from tests.conftest import make_pictures

X, _ = make_pictures(6)
VALUES = torch.arange(12.0).reshape(6, 2)


@pytest.fixture
def cache(tmp_path):
    with Cache(tmp_path) as cache:
        yield cache


def stored(cache, pictures=X, *, arithmetic="float32", pixels="32"):
    """Activations of a network with one link."""
    network = SimpleNamespace(digests=lambda pixels: [pixels.encode(), b"one " + pixels.encode()])
    return StoredActivations(
        cache,
        network,
        pixels=pixels,
        arithmetic=arithmetic,
        source=as_images(pictures),
        n_threads=1,
    )


def test_activations_are_found_in_other_orders_and_sets(cache):
    ours = stored(cache)
    ours.keep([0, 2, 4], VALUES[[0, 2, 4]])
    ours.flush()
    theirs = stored(cache, X[::-1])
    assert theirs.held(-1, range(6)) == [1, 3, 5]
    rows, values = theirs.read(-1, [0, 1, 5])
    assert rows == [1, 5]
    assert torch.equal(values, VALUES[[4, 0]])


def test_equal_pictures_have_the_same_key(cache):
    ours = stored(cache, X[[0, 1, 0]])
    assert ours.key(0) == ours.key(2) != ours.key(1)


@pytest.mark.parametrize("other", [{"arithmetic": "bfloat16"}, {"pixels": "64"}])
def test_activations_computed_with_other_settings_are_stored_apart(cache, other):
    ours = stored(cache)
    ours.keep(range(6), VALUES)
    ours.flush()
    assert stored(cache, **other).held(-1, range(6)) == []


def test_values_are_copied_before_they_are_written(cache):
    values, ours = VALUES.clone(), stored(cache)
    ours.keep(range(6), values)
    values.zero_()
    ours.flush()
    assert torch.equal(ours.read(-1, range(6))[1], VALUES)


@pytest.mark.parametrize(("limit", "value"), [("_ROWS", 4), ("_BYTES", 20), ("_SECONDS", 0.0)])
def test_many_activations_are_written_before_the_end(cache, monkeypatch, limit, value):
    monkeypatch.setattr(stored_module, limit, value)
    ours = stored(cache)
    ours.keep(range(6), VALUES)
    assert stored(cache).held(-1, range(6)) == list(range(6))


def test_few_activations_wait_for_others(cache):
    ours = stored(cache)
    ours.keep(range(6), VALUES)
    assert ours.held(-1, range(6)) == []
    ours.flush()
    assert ours.held(-1, range(6)) == list(range(6))


def test_without_a_cache_nothing_is_held():
    with Cache(None) as cache:
        ours = stored(cache)
        ours.keep(range(6), VALUES)
        ours.flush()
        assert ours.held(-1, range(6)) == []
        rows, values = ours.read(-1, range(6))
    assert rows == []
    assert len(values) == 0
    assert ours.key(0) is None
