"""Faults 64 to 72: several at once, and interruptions. Numbers are those of docs/reliability.md."""

import os
import random
import signal
import sqlite3
import threading
from contextlib import closing

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from skorch.callbacks import Callback

from sktransfer import cache_info
from sktransfer.activations import streaming
from sktransfer.activations.store import picture_keys, stored
from sktransfer.activations.store.connection import FORMAT
from sktransfer.activations.store.database import Store
from sktransfer.activations.store.folder import FILE, FOLDER
from sktransfer.backbones import frozen
from sktransfer.exceptions import CacheWarning, InterruptedWarning
from tests import test_parallel as parallel
from tests.faults.helpers import (
    LABELS,
    PICTURES,
    classifier,
    clean_features,
    extractor,
    learned,
    told,
)


def check_cached(folder, *, rows=8):
    """Assert that the features by way of a cache are those without one, and that it is whole."""
    found = extractor(cache=folder).fit_transform(PICTURES)
    assert_allclose(found, clean_features(), rtol=1e-5, atol=1e-5)
    assert cache_info(folder).rows == rows
    with Store(folder, 10**9) as store:
        assert store._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.fixture
def warm(tmp_path):
    """A cache that holds the features of all pictures."""
    extractor(cache=tmp_path / "cache").fit_transform(PICTURES)
    return tmp_path / "cache"


@pytest.fixture
def computed(monkeypatch):
    """The number of pictures in each batch that is computed."""
    clean_features()  # computed by the first test that asks, and not counted
    original, batches = streaming.engine_for, []
    monkeypatch.setattr(
        streaming, "engine_for", lambda *args: batches.append(len(args[2])) or original(*args)
    )
    return batches


def test_fault_64_eight_threads_with_the_same_cold_keys(tmp_path):
    go, found = threading.Barrier(8), {}

    def one(number):
        model = extractor(cache=tmp_path).fit(PICTURES)
        go.wait()
        found[number] = model.transform(PICTURES)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    for features in found.values():
        assert_allclose(features, clean_features(), rtol=1e-5, atol=1e-5)
    check_cached(tmp_path)


@pytest.mark.slow  # to start eight processes takes half a minute
def test_fault_64_eight_processes_with_the_same_cold_keys(tmp_path):
    start = "if __name__ == '__main__': print(json.dumps(stampede('spawn')))"
    script = parallel.ESTIMATORS + parallel.STAMPEDE + start
    found = parallel.run_script(tmp_path / "script.py", script)
    parallel.check_stampede(tmp_path, found)


@parallel.needs_fork
def test_fault_65_a_fork_with_an_open_cache(tmp_path):
    script = parallel.STORE + parallel.OPEN
    assert parallel.run_script(tmp_path / "script.py", script, "WAL") == [[0, 0], True, "ok"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_fault_66_rows_that_are_evicted_during_reads(warm, computed, monkeypatch, moment):
    original, evicted = Store.read, []

    def read(self, *args):
        if moment == "after":
            found = original(self, *args)
        if not evicted:
            evicted.append(True)
            with Store(warm, 10**9) as other:
                other._evict(10**9)
        return found if moment == "after" else original(self, *args)

    monkeypatch.setattr(Store, "read", read)
    check_cached(warm, rows=8 if moment == "before" else 0)
    assert computed == ([8] if moment == "before" else [])
    check_cached(warm)


def test_fault_67_two_versions_in_one_cache(warm, computed, monkeypatch):
    monkeypatch.setattr(frozen, "PROTOCOL", frozen.PROTOCOL + 1)
    check_cached(warm, rows=16)
    monkeypatch.undo()
    check_cached(warm, rows=16)
    assert computed == [8]


def test_fault_67_a_cache_of_a_newer_version(warm):
    with closing(sqlite3.connect(warm / FOLDER / FILE)) as database:
        database.execute(f"PRAGMA user_version = {FORMAT + 1}")
    content = (warm / FOLDER / FILE).read_bytes()
    with told(CacheWarning) as messages:
        found = extractor(cache=warm).fit_transform(PICTURES)
    assert_allclose(found, clean_features(), rtol=1e-5, atol=1e-5)
    assert [f"its format is {FORMAT + 1}, newer" in message for message in messages] == [True]
    assert (warm / FOLDER / FILE).read_bytes() == content


@parallel.needs_fork
@pytest.mark.slow
def test_fault_68_a_writer_that_is_killed_a_hundred_times(tmp_path):
    script = parallel.STORE + parallel.KILLS
    n_rows, check = parallel.run_script(tmp_path / "script.py", script, 100, 1)
    assert n_rows >= 50
    assert check == "ok"


def cut(file):
    os.truncate(file, file.stat().st_size // 2)


def trash(file):
    with open(file, "r+b") as stream:
        stream.write(random.Random(0).randbytes(100))


@pytest.mark.parametrize("damage", [cut, trash])
def test_fault_69_a_damaged_database(warm, damage):
    # A damaged database is replaced. To keep it aside would take its place on the disk, and all
    # in it can be computed again.
    damage(warm / FOLDER / FILE)
    with told(CacheWarning) as messages:
        found = extractor(cache=warm).fit_transform(PICTURES)
    assert_allclose(found, clean_features(), rtol=1e-5, atol=1e-5)
    assert ["is replaced by a new one" in message for message in messages] == [True]
    check_cached(warm)
    assert [path.name for path in warm.iterdir()] == [FOLDER]


@pytest.mark.parametrize("place", [0, 1000, -1])
def test_fault_70_a_flipped_bit(warm, computed, place):
    file = warm / FOLDER / FILE
    row = clean_features()[3].tobytes()
    content = bytearray(file.read_bytes())
    start = content.find(row[:64])
    assert start > 0, "the row of this picture is stored as its bytes"
    content[start + place % len(row)] ^= 16
    file.write_bytes(content)
    check_cached(warm)
    assert computed == [1]
    check_cached(warm)
    assert computed == [1]


@pytest.fixture
def ctrl_c_works():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_works")
def test_fault_71_ctrl_c_while_pictures_are_computed(tmp_path, computed, monkeypatch):
    monkeypatch.setattr(stored, "_ROWS", 2)
    threads = threading.active_count()
    model = classifier(cache=tmp_path, batch_size=2).fit(PICTURES[:2], LABELS[:2])
    before, counted = model.predict_proba(PICTURES[:2]), streaming.engine_for
    computed.clear()

    def press(*args):
        if len(computed) == 2:
            signal.raise_signal(signal.SIGINT)
        return counted(*args)

    monkeypatch.setattr(streaming, "engine_for", press)
    with pytest.raises(KeyboardInterrupt):
        model.fit(PICTURES, LABELS)
    assert_array_equal(model.predict_proba(PICTURES[:2]), before)
    assert threading.active_count() == threads
    assert cache_info(tmp_path).rows == 6  # two from before, and those that were computed
    monkeypatch.setattr(streaming, "engine_for", counted)
    probabilities = model.fit(PICTURES, LABELS).predict_proba(PICTURES)
    assert_allclose(probabilities, learned(), rtol=1e-4, atol=1e-4)
    check_cached(tmp_path, rows=16)  # random weights of the classifier are those of its seed


class Press(Callback):
    """Press Ctrl-C in the third epoch."""

    def on_grad_computed(self, net, **kwargs):
        if len(net.history) == 3:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("ctrl_c_works")
def test_fault_71_ctrl_c_while_it_trains():
    model = classifier(unfreeze_depth=1, max_epochs=50, callbacks=[Press()])
    with told(InterruptedWarning) as messages:
        model.fit(PICTURES, LABELS)
    assert len(messages) == 1
    assert [epoch["phase"] for epoch in model.history_].count("fine-tune") == 2
    assert np.isfinite(model.predict_proba(PICTURES)).all()


@pytest.mark.parametrize("how", ["replaced", "written again"])
def test_fault_72_a_file_that_was_replaced(tmp_path, monkeypatch, how):
    monkeypatch.setattr(picture_keys, "_SETTLED", -1)  # files are remembered at once
    path, other = tmp_path / "a.bmp", tmp_path / "b.bmp"
    Image.fromarray(PICTURES[0]).save(path)
    Image.fromarray(PICTURES[1]).save(other)
    assert path.stat().st_size == other.stat().st_size
    model = extractor(cache=tmp_path / "cache").fit([path])
    for _ in range(2):
        assert_allclose(model.transform([path]), clean_features()[:1], atol=1e-5)
    assert cache_info(tmp_path / "cache").files == 1
    times = path.stat()
    if how == "replaced":  # by a file of the same size and time
        os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
        os.replace(other, path)
    else:
        path.write_bytes(other.read_bytes())
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1_000_000))
    assert_allclose(model.transform([path]), clean_features()[1:2], atol=1e-5)
