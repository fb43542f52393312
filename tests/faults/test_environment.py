"""Faults 54 to 63: the machine and its disks. Numbers are those of docs/reliability.md."""

import functools
import hashlib
import os
import pickle
import socket
import sqlite3
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sktransfer import cache_info
from sktransfer.activations.store import connection, stored
from sktransfer.activations.store.database import Store
from sktransfer.backbones.networks import build_random
from sktransfer.backbones.sources.base import Weights
from sktransfer.backbones.weights import read_weights
from sktransfer.exceptions import (
    CacheWarning,
    DeviceWarning,
    WeightsError,
    WeightsUnavailableError,
)
from tests.backbones.helpers import PRESET, TINY_STATE, same_values, saved
from tests.conftest import make_pictures, save_pictures
from tests.faults.helpers import (
    LABELS,
    PICTURES,
    classifier,
    clean_features,
    extractor,
    learned,
    told,
)
from tests.pretended_devices import having

TINY = saved(torch.save)
TINY_NAME = f"tiny-{hashlib.sha256(TINY).hexdigest()[:8]}.pth"


@pytest.fixture
def downloads(tmp_path):
    """torch's folder of downloads, empty and for this test only."""
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path / "hub"))
    yield tmp_path / "hub" / "checkpoints"
    torch.hub.set_dir(before)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The folder that a server on this machine serves, and how to name weights in it."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        url = f"http://127.0.0.1:{running.server_port}/{TINY_NAME}"
        yield folder, Weights("TINY_V1", PRESET, origin=url)
        running.shutdown()
        thread.join()


def test_fault_54_no_network_and_no_weights(downloads, monkeypatch):
    def unreachable(*_, **__):
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    for make in (extractor, classifier):
        estimator = make(backbone="mnasnet1_3", weights="DEFAULT")
        with pytest.raises(WeightsUnavailableError, match="Network is unreachable") as caught:
            estimator.fit(PICTURES, LABELS)
        assert f"put it into {downloads}" in str(caught.value)
        assert "https://download.pytorch.org/models/mnasnet1_3" in str(caught.value)
        assert not estimator.__sklearn_is_fitted__()


@pytest.mark.parametrize("found", [b"", TINY[:100], TINY[:-1]], ids=["empty", "begun", "cut"])
def test_fault_55_weights_that_were_downloaded_in_part(downloads, server, found):
    folder, weights = server
    (folder / TINY_NAME).write_bytes(TINY)
    downloads.mkdir(parents=True)
    (downloads / TINY_NAME).write_bytes(found)
    assert same_values(read_weights("resnet18", weights), TINY_STATE)
    assert (downloads / TINY_NAME).read_bytes() == TINY


def test_fault_56_weights_with_another_hash(downloads, server):
    folder, weights = server
    (folder / TINY_NAME).write_bytes(TINY[:-1] + b"x")
    with pytest.raises(WeightsError, match="did not arrive as published"):
        read_weights("resnet18", weights)
    assert not (downloads / TINY_NAME).exists()


def test_fault_56_weights_that_changed_since_the_fit(tmp_path):
    file = tmp_path / "weights.pth"
    state = build_random("squeezenet1_1", seed=0).state_dict()
    torch.save(state, file)
    pickled = pickle.dumps(classifier(weights=str(file)).fit(PICTURES, LABELS))
    torch.save({k: v + 0.01 for k, v in state.items()}, file)
    with pytest.raises(WeightsError):
        pickle.loads(pickled).predict(PICTURES)


class Payload:
    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("how", ["of torch", "of torch, old", "beside tensors", "plain"])
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_fault_57_weights_that_are_a_malicious_pickle(tmp_path, how, name):
    payload, file = Payload(tmp_path / "executed"), tmp_path / name
    if how == "plain":
        file.write_bytes(pickle.dumps(payload))
    else:
        content = {**TINY_STATE, "extra": payload} if how == "beside tensors" else payload
        torch.save(content, file, _use_new_zipfile_serialization=how != "of torch, old")
    for make in (extractor, classifier):
        with pytest.raises(WeightsError):
            make(weights=file).fit(PICTURES, LABELS)
    assert not payload.place.exists()
    pickle.loads(pickle.dumps(payload))
    assert payload.place.exists()  # where it is unpickled, it does what it is meant to


def check_without_cache(cache, message):
    """Assert that results are as without a cache, with one warning per fit or prediction."""
    options = {"cache": cache, "batch_size": 4}
    with told(CacheWarning) as messages:
        features = extractor(**options).fit_transform(PICTURES)
    assert len(messages) == 1
    with told(CacheWarning) as of_classifier:
        probabilities = classifier(**options).fit(PICTURES, LABELS).predict_proba(PICTURES)
    assert 1 <= len(of_classifier) <= 2
    for text in messages + of_classifier:
        assert message in text
        assert "results stay the same" in text
    assert_allclose(features, clean_features(), rtol=1e-5, atol=1e-5)
    assert_allclose(probabilities, learned(), rtol=1e-4, atol=1e-4)


def test_fault_58_a_read_only_cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o500)
    original = Path.mkdir

    def refusing(self, *args, **options):  # root, who often runs tests, may write everywhere
        if self.is_relative_to(folder):
            raise PermissionError(13, "Permission denied", str(self))
        return original(self, *args, **options)

    monkeypatch.setattr(Path, "mkdir", refusing)
    check_without_cache(folder, "Permission denied")


def test_fault_59_a_disk_that_fills_up(tmp_path, monkeypatch):
    original, written = Store._insert, []

    def filling(self, *args):
        written.append(args)
        if len(written) > 1:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        original(self, *args)

    monkeypatch.setattr(Store, "_insert", filling)
    monkeypatch.setattr(stored, "_ROWS", 4)  # written at once
    # Rows may be evicted to make room, but the disk stays full.
    check_without_cache(tmp_path, "the disk, or the SKTRANSFER_CACHE_SIZE")


def test_fault_60_a_cache_on_a_network_disk(tmp_path, monkeypatch):
    original = Path.read_text
    mounts = f"/dev/sda1 / ext4 rw 0 0\nserver:/home {tmp_path} nfs4 rw,vers=4.2 0 0\n"
    monkeypatch.setattr(
        Path,
        "read_text",
        lambda self, *args, **options: (
            mounts if str(self) == "/proc/self/mounts" else original(self, *args, **options)
        ),
    )
    check_without_cache(tmp_path / "cache", "it is on a network disk")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        *(((3, 40, 1), "truncate"), ((3, 44, 5), "truncate"), ((3, 51, 2), "truncate")),
        *(((3, 44, 6), "wal"), ((3, 50, 7), "wal"), ((3, 51, 3), "wal"), ((3, 53, 0), "wal")),
    ],
)
def test_fault_61_versions_of_SQLite(tmp_path, monkeypatch, version, mode):
    monkeypatch.setattr(connection.sqlite3, "sqlite_version_info", version)
    for _ in range(2):
        found = extractor(cache=tmp_path).fit_transform(PICTURES)
        assert_allclose(found, clean_features(), rtol=1e-5, atol=1e-5)
    with Store(tmp_path, 10**9) as store:
        assert store._connection.execute("PRAGMA journal_mode").fetchone() == (mode,)


@pytest.mark.usefixtures("elsewhere")
def test_fault_62_a_pickle_of_a_GPU_on_a_machine_without_one(monkeypatch):
    with having(monkeypatch, "cuda:0"):
        models = [
            extractor(device="cuda:0").fit(PICTURES),
            classifier(device="cuda:0").fit(PICTURES, LABELS),
            classifier(device="cuda:0", unfreeze_depth=1, max_epochs=1).fit(PICTURES, LABELS),
        ]
        answers = [
            models[0].transform(PICTURES),
            *(model.predict_proba(PICTURES) for model in models[1:]),
        ]
        pickled = [pickle.dumps(model) for model in models]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for content, right in zip(pickled, answers, strict=True):
        with told(DeviceWarning) as messages:
            again = pickle.loads(content)
            found = getattr(again, "predict_proba", getattr(again, "transform", None))(PICTURES)
        assert_allclose(found, right, rtol=1e-4, atol=1e-4)
        assert again.device_ == "cpu"
        assert len(messages) == 1


def test_fault_63_256_open_files(tmp_path):
    resource = pytest.importorskip("resource")
    X, y = make_pictures(300)
    paths = save_pictures(X, tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        for _ in range(2):
            model = classifier(cache=tmp_path / "cache", n_jobs=4).fit(paths, y)
            found = model.predict(paths)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert_array_equal(found, classifier().fit(X, y).predict(X))
    assert cache_info(tmp_path / "cache").rows == 300
