import contextlib
import os
import random
import shutil
import sqlite3
import threading
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sktransfer import PretrainedFeatureExtractor, cache_info, clear_cache
from sktransfer.activations.engines.choice import EngineChoice
from sktransfer.activations.store import connection as connection_module
from sktransfer.activations.store import database as store_module
from sktransfer.activations.store import folder as folder_module
from sktransfer.activations.store import models, picture_keys, stored
from sktransfer.activations.store.cache import Cache
from sktransfer.activations.store.connection import FORMAT
from sktransfer.activations.store.database import Store
from sktransfer.activations.store.folder import FILE, FOLDER
from sktransfer.activations.streaming import FrozenPass
from sktransfer.backbones.frozen import FrozenNetwork
from sktransfer.exceptions import CacheWarning, ParameterError
from sktransfer.images.preprocessing import Preprocessing
from sktransfer.images.sources import as_images
from tests.conftest import small_disk

PRESET = Preprocessing(32, 32, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Corner(nn.Module):
    def forward(self, x):
        return x[:, :, :8, :8].float()


class Colours(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def network(**links):
    return FrozenNetwork(list(links.items()))


NETWORK = network(corner=Corner(), colours=Colours())
MAPS = network(corner=Corner())


def run(folder, X, network=NETWORK, then=None):
    """The results of one pass, which are easily computed otherwise."""
    choice = EngineChoice(engine="torch")
    one_pass = FrozenPass(network, PRESET, choice, batch_size=5, n_jobs=1, cache=folder)
    return one_pass.collect(as_images(X), then)[0]


@contextlib.contextmanager
def told():
    """All warnings of a block."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield found


def only(found):
    """The text of the only warning."""
    assert [warning.category for warning in found] == [CacheWarning]
    return str(found[0].message)


def file_of(folder):
    return folder / FOLDER / FILE


def change(folder, statement, *values):
    with closing(sqlite3.connect(file_of(folder))) as connection, connection:
        connection.execute(statement, values)


@pytest.fixture
def expected(pictures):
    return run(None, pictures[0])


@pytest.fixture
def warm(tmp_path, pictures):
    """A folder in which everything is stored."""
    folder = tmp_path / "cache"
    run(folder, pictures[0], MAPS)
    run(folder, pictures[0])
    return folder


@pytest.fixture
def computed(monkeypatch):
    """The number of pictures in each batch that was computed rather than read."""
    batches = []
    original = Corner.forward
    monkeypatch.setattr(
        Corner, "forward", lambda self, x: batches.append(len(x)) or original(self, x)
    )
    return batches


def test_results_by_hand(tmp_path, pictures):
    X, _ = pictures
    for _ in range(2):
        assert np.allclose(run(tmp_path, X), X[:, :8, :8].mean((1, 2)), rtol=1e-5)


def test_a_warm_store_computes_nothing(warm, pictures, computed, expected):
    computed.clear()  # those computed for `expected`
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
    assert not found
    assert computed == []


# Damage: one warning, the right results, and a new store.


def cut(length):
    """Keep the first n bytes of a file; if n is negative, cut off that many."""

    def damage(file):
        os.truncate(file, length if length > 0 else file.stat().st_size + length)

    return damage


def replaced(old, new):
    def damage(file):
        content = file.read_bytes()
        assert old in content
        file.write_bytes(content.replace(old, new))

    return damage


def overwritten(start, content):
    def damage(file):
        with open(file, "r+b") as stream:
            stream.seek(start)
            stream.write(content)

    return damage


DAMAGE = {
    "1 byte left": cut(1),
    "99 bytes left": cut(99),
    "511 bytes left": cut(511),
    "512 bytes left": cut(512),
    "a page less 1 byte left": cut(16383),
    "a page left": cut(16384),
    "a page and 1 byte left": cut(16385),
    "half left": cut(5 * 16384 + 77),
    "a page lost": cut(-16384),
    "a byte lost": cut(-1),
    "no database": lambda file: file.write_bytes(b"something else entirely" * 5000),
    "header of zeros": overwritten(0, bytes(100)),
    "header of noise": overwritten(0, random.Random(0).randbytes(100)),
    "first page of noise": overwritten(0, random.Random(0).randbytes(16384)),
    "tables' page of noise": overwritten(100, random.Random(0).randbytes(16284)),
    "all but the header of noise": overwritten(16384, random.Random(0).randbytes(10 * 16384)),
    "future file format": overwritten(18, b"\x09\x09"),
    "schema that is no SQL": replaced(b"CREATE TABLE entries", b"CREATE TABEL entries"),
    "schema that is no text": replaced(b"CREATE TABLE entries", b"CREATE TABLE entr\xffes"),
    "schema without a table": replaced(b"entries", b"entrees"),
    "schema without a column": replaced(
        b"checksum BLOB NOT NULL, bytes", b"checksun BLOB NOT NULL, bytes"
    ),
    "schema without a key": replaced(
        b"id INTEGER PRIMARY KEY, dtype", b"ib INTEGER PRIMARY KEY, dtype"
    ),
}


# SQLite takes a file with the first for an empty one; the byte of the second has no effect.
UNNOTICED = [DAMAGE["1 byte left"], DAMAGE["a byte lost"]]


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_store_is_renewed(warm, pictures, expected, computed, damage):
    damage(file_of(warm))
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
    if found or damage not in UNNOTICED:
        assert "is replaced by a new one; results stay the same" in only(found)
    with told() as found:
        assert torch.equal(
            run(warm, pictures[0]), expected
        )  # fills the store again, unless the pass before did
        computed.clear()
        assert torch.equal(run(warm, pictures[0]), expected)
    assert not found
    assert computed == []
    assert cache_info(warm).rows in (24, 48)  # with or without those of another network


VALUES = {
    "shape": "UPDATE contents SET shape = CAST(x'ff' AS TEXT)",
    "dtype": "UPDATE contents SET dtype = CAST(x'ff' AS TEXT)",
    "bytes": "UPDATE contents SET bytes = 5",
    "bytes as text": "UPDATE contents SET bytes = CAST(bytes AS TEXT)",
    "checksum": "UPDATE contents SET checksum = 5",
    "used": "UPDATE entries SET used = x'00'",
    "used as text": "UPDATE entries SET used = 'today'",
    "picture": "UPDATE entries SET picture = 'picture ' || id",
    "identity": "UPDATE files SET identity = CAST(x'ff' AS TEXT)",
    "identity as bytes": "UPDATE files SET identity = CAST(identity AS BLOB)",
    "file's picture": "UPDATE files SET picture = 5",
    "file's checksum": "UPDATE files SET checksum = 5",
    "path": "UPDATE files SET path = CAST(path AS BLOB)",
}


@pytest.mark.parametrize("damage", VALUES.values(), ids=VALUES)
def test_values_of_other_types_cost_one_pass(
    tmp_path, picture_files, expected, computed, monkeypatch, damage
):
    monkeypatch.setattr(picture_keys, "_SETTLED", -1)  # files are remembered at once
    folder, (paths, _) = tmp_path / "cache", picture_files
    run(folder, paths, MAPS)
    run(folder, paths)
    assert cache_info(folder).files == 24
    change(folder, damage)
    with told() as found:
        assert torch.equal(run(folder, paths), expected)
    assert len(found) <= 1
    assert all("is replaced by a new one" in str(warning.message) for warning in found)
    with told() as found:
        assert torch.equal(run(folder, paths), expected)
        computed.clear()
        assert torch.equal(run(folder, paths), expected)
    assert not found
    assert computed == []


def test_an_empty_file_is_an_empty_store(warm, pictures, expected):
    os.truncate(file_of(warm), 0)
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
    assert not found
    assert cache_info(warm).rows == 24


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A store that has the same bytes on every machine."""
    folder = tmp_path_factory.mktemp("sample")
    X = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module.time, "time", lambda: 1.8e9 + 0.3)
        run(folder, X, MAPS)
        run(folder, X)
    return X, {name: run(None, X, net) for name, net in (("maps", MAPS), ("rows", NETWORK))}, folder


def flip(file, seed, n):
    """Change n bytes, half of them in parts of the file that are not zero."""
    chance, content = random.Random(seed), bytearray(file.read_bytes())
    filled = [place for place, byte in enumerate(content) if byte]
    for i in range(n):
        place = chance.choice(filled) if i % 2 else chance.randrange(len(content))
        content[place] ^= chance.randrange(1, 256)
    file.write_bytes(content)


@pytest.mark.parametrize("n", [2, 20, 200])
@pytest.mark.parametrize("seed", [*range(12), 418, 706, 3062])  # the last hides an entry
def test_flipped_bytes_never_give_wrong_results(tmp_path, sample, seed, n):
    X, expected, clean = sample
    folder = tmp_path / "cache"
    shutil.copytree(clean, folder)
    flip(file_of(folder), seed, n)
    for name, net in (("rows", NETWORK), ("maps", MAPS), ("rows", NETWORK)):
        with told() as found:
            assert torch.equal(run(folder, X, net), expected[name])
        assert [warning.category for warning in found] in ([], [CacheWarning])


@pytest.mark.slow
def test_flipped_bytes_never_give_wrong_results_at_length(tmp_path, sample):
    X, expected, clean = sample
    troubles = set()
    for seed in range(100, 3100):
        folder = tmp_path / str(seed)
        shutil.copytree(clean, folder)
        flip(file_of(folder), seed, (1, 3, 20, 200)[seed % 4])
        for name, net in (("rows", NETWORK), ("maps", MAPS), ("rows", NETWORK)):
            with told() as found:
                try:
                    assert torch.equal(run(folder, X, net), expected[name])
                except Exception as error:  # collected, as all of them tell more than the first
                    troubles.add((seed, repr(error)))
            if len(found) > 1:
                troubles.add((seed, f"{len(found)} warnings"))
        shutil.rmtree(folder)
    assert not troubles


def test_damage_during_a_pass_is_survived(warm, pictures, expected):
    change(warm, "DELETE FROM contents WHERE id > 30")  # the rest is computed
    damages = [overwritten(0, random.Random(0).randbytes(10 * 16384))]

    def damage(values):
        while damages:
            damages.pop()(file_of(warm))
        return values

    with told() as found:
        assert torch.equal(run(warm, pictures[0], then=damage), expected)
    assert [warning.category for warning in found] == [CacheWarning]
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
        assert torch.equal(run(warm, pictures[0]), expected)
    assert len(found) <= 1


# Other faults: one warning, the right results, and the folder left alone.


def test_a_file_instead_of_a_folder(tmp_path, pictures, expected):
    file = tmp_path / "file"
    file.write_text("mine")
    for folder in (file, file / "below"):
        with told() as found:
            assert torch.equal(run(folder, pictures[0]), expected)
        words = only(found)
        assert repr(str(folder)) in words
        assert "Give another folder, or cache=None" in words
    assert file.read_text() == "mine"


def test_a_file_in_place_of_the_stores_folder(tmp_path, pictures, expected):
    (tmp_path / FOLDER).write_text("mine")
    with told() as found:
        assert torch.equal(run(tmp_path, pictures[0]), expected)
    only(found)
    assert (tmp_path / FOLDER).read_text() == "mine"


def test_a_folder_in_place_of_the_stores_file(tmp_path, pictures, expected):
    file_of(tmp_path).mkdir(parents=True)
    with told() as found:
        assert torch.equal(run(tmp_path, pictures[0]), expected)
    only(found)


def test_links_that_lead_nowhere(tmp_path, pictures, expected):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with told() as found:
        assert torch.equal(run(tmp_path / "loop", pictures[0]), expected)
    only(found)


def refusing(error):
    """A function that takes any arguments and raises."""

    def refuse(*_args, **_options):
        raise error

    return refuse


def test_a_folder_that_cant_be_made(tmp_path, pictures, expected, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", refusing(PermissionError(13, "Permission denied")))
    with told() as found:
        assert torch.equal(run(tmp_path / "new", pictures[0]), expected)
    assert "Permission denied" in only(found)


def test_a_file_that_cant_be_opened(tmp_path, pictures, expected, monkeypatch):
    error = sqlite3.OperationalError("unable to open database file")
    monkeypatch.setattr(sqlite3, "connect", refusing(error))
    with told() as found:
        assert torch.equal(run(tmp_path, pictures[0]), expected)
    assert "unable to open database file. So activations are computed without it" in only(found)


needs_permissions = pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() == 0, reason="root may do everything"
)


@needs_permissions
def test_an_unwritable_folder(tmp_path, pictures, expected):
    folder = tmp_path / "new"
    folder.mkdir(mode=0o500)
    with told() as found:
        assert torch.equal(run(folder, pictures[0]), expected)
    only(found)


@needs_permissions
def test_an_unwritable_store_is_read(warm, pictures, expected, computed):
    file_of(warm).chmod(0o400)
    (warm / FOLDER).chmod(0o500)
    computed.clear()
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
    assert not found
    assert computed == []
    with told() as found:
        other = pictures[0][:, ::-1]
        assert torch.equal(run(warm, other), run(None, other))
    only(found)
    (warm / FOLDER).chmod(0o700)


def forbid_writing(connect):
    """Connections that can't write, as to a read-only file."""

    def connect_to_read(path, **options):
        return connect(f"file:{path}?mode=ro", uri=True, **options)

    return connect_to_read


def test_a_read_only_store_is_read(warm, pictures, expected, computed, monkeypatch):
    monkeypatch.setattr(sqlite3, "connect", forbid_writing(sqlite3.connect))
    computed.clear()
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
    assert not found
    assert computed == []


def test_a_read_only_store_of_long_ago_is_read(warm, pictures, expected, computed, monkeypatch):
    change(warm, "UPDATE entries SET used = 0.5")  # long ago, so that a use would be marked
    monkeypatch.setattr(sqlite3, "connect", forbid_writing(sqlite3.connect))
    computed.clear()
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
    assert [warning.category for warning in found] in ([], [CacheWarning])
    assert computed == []


def test_a_read_only_store_warns_once(warm, pictures, monkeypatch):
    other = pictures[0][:, ::-1]
    expected = run(None, other)
    monkeypatch.setattr(sqlite3, "connect", forbid_writing(sqlite3.connect))
    with told() as found:
        assert torch.equal(run(warm, other), expected)
    assert "readonly" in only(found)


@pytest.mark.parametrize("mode", ["TRUNCATE", "WAL"])
def test_deleted_during_use(tmp_path, pictures, expected, monkeypatch, mode):
    monkeypatch.setattr(connection_module, "journal_mode", lambda _version: mode)
    monkeypatch.setattr(stored, "_ROWS", 5)  # every batch is written
    folder, batches = tmp_path / "cache", []

    def delete(values):
        batches.append(values)
        if len(batches) == 3:
            shutil.rmtree(folder)
        return values

    with told() as found:
        assert torch.equal(run(folder, pictures[0], then=delete), expected)
    assert [warning.category for warning in found] in ([], [CacheWarning])
    with told() as found:
        assert torch.equal(run(folder, pictures[0]), expected)
        assert torch.equal(run(folder, pictures[0]), expected)
    assert not found
    assert cache_info(folder).rows == 24


def test_cleared_during_use(tmp_path, pictures, expected, monkeypatch):
    monkeypatch.setattr(stored, "_ROWS", 5)
    with told() as found:
        values = run(tmp_path, pictures[0], then=lambda rows: clear_cache(tmp_path) or rows)
    assert torch.equal(values, expected)
    assert [warning.category for warning in found] in ([], [CacheWarning])
    assert cache_info(tmp_path).size == 0


def test_a_full_disk(tmp_path, pictures, expected, monkeypatch):
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    monkeypatch.setattr(Store, "write", refusing(error))
    monkeypatch.setattr(stored, "_ROWS", 5)
    with told() as found:
        assert torch.equal(run(tmp_path, pictures[0]), expected)
    assert "the disk, or the SKTRANSFER_CACHE_SIZE of 20,000,000,000 bytes, is full" in only(found)


@pytest.fixture
def disk_of_two_megabytes(tmp_path):
    with small_disk(tmp_path / "disk", megabytes=2) as place:
        yield place


@pytest.mark.parametrize("mode", ["TRUNCATE", "WAL"])
def test_a_disk_that_fills_up(disk_of_two_megabytes, monkeypatch, mode):
    monkeypatch.setattr(connection_module, "journal_mode", lambda _version: mode)
    monkeypatch.setattr(stored, "_ROWS", 5)
    X = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    pixels = FrozenNetwork()
    expected = run(None, X, pixels)
    with told() as found:
        assert torch.equal(run(disk_of_two_megabytes, X, pixels), expected)
    assert not found
    free = shutil.disk_usage(disk_of_two_megabytes).free
    (disk_of_two_megabytes / "other").write_bytes(bytes(free - 100_000))  # of another program
    larger = np.concatenate([X, X[:, ::-1], X[:, :, ::-1]])
    for _ in range(2):
        with told() as found:
            assert torch.equal(run(disk_of_two_megabytes, larger, pixels)[:40], expected)
        assert "is full" in only(found)
    (disk_of_two_megabytes / "other").unlink()
    with told() as found:
        assert torch.equal(run(disk_of_two_megabytes, X, pixels), expected)
    assert not found


def test_a_lock_that_is_never_released(warm, pictures, expected, monkeypatch):
    monkeypatch.setattr(connection_module, "_WAIT", 0.05)
    with closing(sqlite3.connect(file_of(warm), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with told() as found:
            assert torch.equal(run(warm, pictures[0]), expected)
        assert "locked" in only(found)
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
    assert not found


def test_a_lock_that_comes_while_it_runs(tmp_path, pictures, expected, monkeypatch):
    monkeypatch.setattr(connection_module, "_WAIT", 0.05)
    monkeypatch.setattr(stored, "_ROWS", 5)
    run(tmp_path, pictures[0][:1])
    with closing(sqlite3.connect(file_of(tmp_path), isolation_level=None)) as other:

        def lock(values):
            if not other.in_transaction:
                other.execute("BEGIN IMMEDIATE")
            return values

        with told() as found:
            assert torch.equal(run(tmp_path, pictures[0], then=lock), expected)
        assert "locked" in only(found)


def test_a_lock_is_waited_for(warm, pictures, expected):
    other = sqlite3.connect(file_of(warm), isolation_level=None, check_same_thread=False)
    with closing(other):
        other.execute("BEGIN EXCLUSIVE")
        timer = threading.Timer(0.3, other.execute, ["COMMIT"])
        timer.start()
        with told() as found:
            assert torch.equal(run(warm, pictures[0]), expected)
        timer.join()
    assert not found


# Two environments use one folder, and the SQLite of one loses data in WAL.


def in_mode(patch, mode):
    patch.setattr(connection_module, "journal_mode", lambda _version: mode)


def test_a_store_that_is_open_in_wal_is_waited_for(tmp_path, pictures, expected, monkeypatch):
    with monkeypatch.context() as patch:
        in_mode(patch, "WAL")
        Store(tmp_path, 10**9).__exit__()
    in_mode(monkeypatch, "TRUNCATE")
    with closing(sqlite3.connect(file_of(tmp_path), check_same_thread=False)) as other:
        other.execute("SELECT COUNT(*) FROM entries").fetchone()
        timer = threading.Timer(0.2, other.close)
        timer.start()
        with told() as found:
            assert torch.equal(run(tmp_path, pictures[0]), expected)
        timer.join()
    assert not found
    assert cache_info(tmp_path).rows == 24
    with closing(sqlite3.connect(file_of(tmp_path))) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() != ("wal",)


def test_a_store_that_stays_open_in_wal_is_waited_for_no_longer_than_a_lock(
    tmp_path, pictures, expected, monkeypatch
):
    monkeypatch.setattr(connection_module, "_WAIT", 0.05)
    in_mode(monkeypatch, "WAL")
    with Store(tmp_path, 10**9) as other:
        other.write(b"space", {b"key": np.zeros(1)})
        in_mode(monkeypatch, "TRUNCATE")
        with told() as found:
            assert torch.equal(run(tmp_path, pictures[0]), expected)
        assert "locked" in only(found)
        assert other.read(b"space", [b"key"])[b"key"] == 0


def test_a_store_that_is_open_elsewhere_is_not_moved_to_wal(
    tmp_path, pictures, expected, monkeypatch
):
    in_mode(monkeypatch, "TRUNCATE")
    with Store(tmp_path, 10**9) as other:
        in_mode(monkeypatch, "WAL")
        with told() as found:
            assert torch.equal(run(tmp_path, pictures[0]), expected)
        assert not found
        assert other.counts()["rows"] == 24
        with closing(sqlite3.connect(file_of(tmp_path))) as third:
            assert third.execute("PRAGMA journal_mode").fetchone() != ("wal",)


@pytest.mark.parametrize("n_stored", [0, 1, 7, 23, 24])
@pytest.mark.parametrize("network", [NETWORK, MAPS], ids=["rows", "maps"])
def test_stored_activations_do_not_change_the_values_of_then(tmp_path, pictures, network, n_stored):
    # Libraries choose a kernel, and with it the last bits, by batch length and memory layout.
    X, _ = pictures
    stored_rows = np.random.default_rng(0).permutation(24)[:n_stored]
    if n_stored:
        run(tmp_path, X[stored_rows[::2]], network)
        run(tmp_path, X[stored_rows], MAPS)

    def seen(folder):
        parts = []
        run(folder, X, network, then=lambda part: parts.append(part) or part)
        return parts

    found, expected = seen(tmp_path), seen(None)
    assert [len(part) for part in expected] == [5, 5, 5, 5, 4]
    assert [part.stride() for part in found] == [part.stride() for part in expected]
    assert all(part.data_ptr() % 64 == 0 for part in (*found, *expected))
    assert all(torch.equal(*parts) for parts in zip(found, expected, strict=True))


@pytest.mark.parametrize("network", [NETWORK, MAPS], ids=["rows", "maps"])
def test_entries_evicted_during_a_pass_are_computed(warm, pictures, network):
    change(warm, "DELETE FROM contents WHERE id % 3 = 0")
    expected = run(None, pictures[0], network)

    def evict(values):
        with Store(warm, 10**9) as other:
            other._evict(2_000)
        return values

    with told() as found:
        assert torch.equal(run(warm, pictures[0], network, then=evict), expected)
    assert not found


def test_a_network_disk_is_not_used(tmp_path, pictures, expected, monkeypatch):
    monkeypatch.setattr(folder_module, "_is_on_network_disk", lambda _folder: True)
    with told() as found:
        assert torch.equal(run(tmp_path / "new", pictures[0]), expected)
    assert "it is on a network disk" in only(found)
    assert not (tmp_path / "new").exists()


MOUNTS = r"""
/dev/sda1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/sdb1 /home/local ext4 rw 0 0
//server/share /mnt/share cifs rw 0 0
somebody@server:/ /mnt/ssh fuse.sshfs rw 0 0
server:/data /mnt/with\040space nfs rw 0 0
/dev/sdc1 /mnt/twice ext4 rw 0 0
server:/twice /mnt/twice lustre rw 0 0
tmpfs /tmp tmpfs rw 0 0
""".lstrip()


@pytest.mark.parametrize(
    ("folder", "is_network"),
    [
        ("/data", False),
        ("/home", True),
        ("/home/someone/cache", True),
        ("/home/local/cache", False),
        ("/homes", False),
        ("/mnt/share/a/b/c", True),
        ("/mnt/ssh", True),
        ("/mnt/with space/cache", True),
        ("/mnt/twice/cache", True),
        ("/tmp/cache", False),
    ],
)
def test_network_disks_are_known_by_their_mounts(monkeypatch, folder, is_network):
    monkeypatch.setattr(Path, "resolve", lambda self: self)
    monkeypatch.setattr(Path, "read_text", lambda _self, **_options: MOUNTS)
    assert folder_module._is_on_network_disk(Path(folder)) == is_network


def test_systems_without_a_list_of_mounts(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "read_text", refusing(FileNotFoundError(2, "No such file")))
    assert not folder_module._is_on_network_disk(tmp_path)


def test_this_folder_is_local(tmp_path):
    assert not folder_module._is_on_network_disk(tmp_path)


def test_a_newer_format_is_left_alone(warm, pictures, expected):
    change(warm, f"PRAGMA user_version = {FORMAT + 1}")
    before = file_of(warm).read_bytes()
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
    assert f"its format is {FORMAT + 1}, newer than {FORMAT}" in only(found)
    assert file_of(warm).read_bytes() == before


@pytest.mark.parametrize("size", ["0", "1KB", "0.15MB", "200KB"])
def test_a_limit_below_one_entry_is_named_in_the_warning(tmp_path, monkeypatch, size):
    X = np.random.default_rng(0).integers(0, 256, (6, 300, 300, 3), dtype=np.uint8)
    monkeypatch.setenv("SKTRANSFER_CACHE_SIZE", size)
    pass_of_pixels = FrozenPass(
        FrozenNetwork(), PRESET.at_size(300), EngineChoice(), batch_size=2, n_jobs=1, cache=tmp_path
    )
    with told() as found:
        pixels, _ = pass_of_pixels.collect(as_images(X))
    assert np.array_equal(pixels, X.transpose(0, 3, 1, 2))
    assert "SKTRANSFER_CACHE_SIZE" in only(found)


def test_a_limit_below_a_pass_is_used_to_the_full(tmp_path, monkeypatch):
    X = np.random.default_rng(0).integers(0, 256, (60, 100, 100, 3), dtype=np.uint8)
    monkeypatch.setenv("SKTRANSFER_CACHE_SIZE", "1MB")
    monkeypatch.setattr(stored, "_ROWS", 10)
    pass_of_pixels = FrozenPass(
        FrozenNetwork(), PRESET.at_size(100), EngineChoice(), batch_size=5, n_jobs=1, cache=tmp_path
    )
    for _ in range(2):
        with told() as found:
            pixels, _ = pass_of_pixels.collect(as_images(X))
        assert np.array_equal(pixels, X.transpose(0, 3, 1, 2))
        assert not found
        assert 5 <= cache_info(tmp_path).rows <= 33
        assert cache_info(tmp_path).size <= 1_100_000


def test_paths_that_are_no_text(tmp_path, pictures, expected):
    # Names on Linux are bytes; Python writes those that are not UTF-8 with lone surrogates.
    paths = [os.fsdecode(bytes(tmp_path) + b"/caf\xe9 %d.png" % i) for i in range(24)]
    try:
        for path, picture in zip(paths, pictures[0], strict=True):
            Image.fromarray(picture).save(path)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such names")
    for _ in range(2):
        with told() as found:
            assert torch.equal(run(tmp_path / "cache", paths), expected)
        assert not found


# One warning per pass, and the cache alone.


def test_without_a_folder_nothing_is_stored(recwarn):
    with Cache(None) as cache:
        assert not cache.is_open
        cache.write(b"space", {b"key": np.zeros(1)})
        cache.put_model(b"key", b"model")
        assert cache.read(b"space", [b"key"]) == {}
        assert cache.holds(b"space", [b"key"]) == set()
        assert cache.files(["/a"]) == {}
        assert cache.get_model(b"key") is None
    assert not recwarn.list


def test_two_faults_are_one_warning(tmp_path, pictures, expected, monkeypatch):
    # First damage, then a full disk when the new store is created.
    run(tmp_path, pictures[0])
    file_of(tmp_path).write_bytes(b"no database" * 1000)
    monkeypatch.setattr(Store, "write", refusing(sqlite3.OperationalError("disk I/O error")))
    with told() as found:
        assert torch.equal(run(tmp_path, pictures[0]), expected)
    only(found)


def test_a_store_renewed_by_another_process_is_kept(tmp_path, pictures, expected, monkeypatch):
    run(tmp_path, pictures[0])
    file_of(tmp_path).write_bytes(b"no database" * 1000)
    original = Store.__init__

    def first_someone_else(self, folder, limit):
        monkeypatch.setattr(Store, "__init__", original)
        try:
            original(self, folder, limit)
        except sqlite3.Error:
            clear_cache(folder)  # another process was faster
            with Store(folder, limit) as theirs:
                theirs.write(b"theirs", {b"key": np.zeros(1)})
            raise

    monkeypatch.setattr(Store, "__init__", first_someone_else)
    with told() as found:
        assert torch.equal(run(tmp_path, pictures[0]), expected)
    only(found)
    assert cache_info(tmp_path).rows == 24 + 1


def test_an_error_of_the_caller_is_raised(tmp_path, pictures):
    with pytest.raises(OSError, match="not the cache's"):
        run(tmp_path, pictures[0], then=refusing(OSError("not the cache's")))


# cache_info and clear_cache.


def test_info_counts(tmp_path, picture_files, pictures, monkeypatch):
    monkeypatch.setattr(picture_keys, "_SETTLED", -1)
    monkeypatch.setenv("SKTRANSFER_CACHE_SIZE", "30 MB")
    folder = tmp_path / "cache"
    run(folder, picture_files[0])
    run(folder, picture_files[0][:10], MAPS)
    run(folder, pictures[0][:3])
    info = cache_info(str(folder))
    assert (info.folder, info.rows, info.pictures) == (str(folder), 24 + 10 + 3, 24 + 3)
    assert (info.files, info.limit) == (24, 30_000_000)
    assert info.size == sum(file.stat().st_size for file in (folder / FOLDER).iterdir())
    assert 100_000 < info.size < 1_000_000


@pytest.mark.parametrize("kind", [str, Path])
def test_info_of_a_folder_that_is_not_there(tmp_path, kind):
    folder = tmp_path / "missing"
    info = cache_info(kind(folder))
    assert info.folder == str(folder)
    assert (info.rows, info.pictures, info.files, info.size) == (0, 0, 0, 0)
    assert info.limit == 20_000_000_000
    clear_cache(kind(folder))
    assert not folder.exists()


def test_info_of_a_damaged_store(warm):
    file_of(warm).write_bytes(b"no database" * 1000)
    with told() as found:
        info = cache_info(warm)
    only(found)
    assert (info.rows, info.pictures, info.files) == (0, 0, 0)


def test_info_of_a_newer_format(warm):
    change(warm, f"PRAGMA user_version = {FORMAT + 1}")
    before = file_of(warm).read_bytes()
    with told() as found:
        info = cache_info(warm)
    assert "newer" in only(found)
    assert (info.rows, info.pictures, info.files) == (0, 0, 0)
    assert info.size >= len(before)
    assert file_of(warm).read_bytes() == before


@pytest.mark.parametrize("below", [".", "below"])
def test_info_of_a_file(tmp_path, below):
    (tmp_path / "file").write_text("mine")
    with told() as found:
        info = cache_info(tmp_path / "file" / below)
    assert (info.rows, info.pictures, info.files, info.size) == (0, 0, 0, 0)
    assert len(found) <= 1


@pytest.mark.parametrize("place", [".", FOLDER])
def test_info_begins_no_store(tmp_path, place):
    (tmp_path / "cache" / place).mkdir(parents=True)
    before = names(tmp_path)
    info = cache_info(tmp_path / "cache")
    assert (info.rows, info.pictures, info.files, info.size) == (0, 0, 0, 0)
    assert names(tmp_path) == before


def test_info_of_a_store_that_goes_away(warm, monkeypatch):
    original = Cache.counts

    def last(self):
        counts = original(self)
        clear_cache(warm)
        return counts

    monkeypatch.setattr(Cache, "counts", last)
    assert cache_info(warm).size == 0


@pytest.mark.parametrize("damage", [None, "no database", "newer format", "no file"])
def test_clearing_removes_the_store_and_no_other_file(warm, pictures, damage):
    (warm / "notes.txt").write_text("mine")
    if damage == "no database":
        file_of(warm).write_bytes(b"no database" * 1000)
    elif damage == "newer format":
        change(warm, f"PRAGMA user_version = {FORMAT + 1}")
    elif damage == "no file":
        file_of(warm).unlink()
    clear_cache(warm)
    assert [file.name for file in warm.iterdir()] == ["notes.txt"]
    assert cache_info(warm).rows == cache_info(warm).size == 0
    run(warm, pictures[0])
    assert cache_info(warm).rows == 24


def test_clearing_finishes_what_was_interrupted(warm, monkeypatch):
    (warm / "activations-of-mine.txt").write_text("mine")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refusing(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            clear_cache(warm)
    clear_cache(warm)
    assert [file.name for file in warm.iterdir()] == ["activations-of-mine.txt"]


def names(folder):
    """All files and folders in a folder, by relative path."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


NO_DATABASE = b"no database" * 1000


def test_clearing_leaves_what_the_user_keeps_in_the_stores_folder(warm, pictures):
    (warm / FOLDER / "notes.txt").write_text("mine")
    (warm / FOLDER / "below").mkdir()
    (warm / FOLDER / "below" / "activations.sqlite").write_text("mine too")
    clear_cache(warm)
    below = f"{FOLDER}/below/activations.sqlite"
    assert names(warm) == [FOLDER, f"{FOLDER}/below", below, f"{FOLDER}/notes.txt"]
    assert cache_info(warm).rows == cache_info(warm).size == 0
    run(warm, pictures[0])
    assert cache_info(warm).rows == 24
    assert (warm / FOLDER / "notes.txt").read_text() == "mine"


def test_the_repair_leaves_what_the_user_keeps_in_the_stores_folder(warm, pictures, expected):
    (warm / FOLDER / "notes.txt").write_text("mine")
    file_of(warm).write_bytes(NO_DATABASE)
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
    assert "is replaced by a new one" in only(found)
    assert (warm / FOLDER / "notes.txt").read_text() == "mine"
    assert cache_info(warm).rows == 24


def test_files_put_beside_a_removed_store_are_left(warm, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refusing(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            clear_cache(warm)
    (left,) = warm.iterdir()
    (left / "notes.txt").write_text("mine")
    clear_cache(warm)
    assert names(warm) == [left.name, f"{left.name}/notes.txt"]


def write_database(path, statement="CREATE TABLE files (mine TEXT)"):
    """A database of another program."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


NO_CACHES = {
    "other files": lambda folder: (folder / "photo.png").write_text("mine"),
    "a folder of the same name": lambda folder: (
        (folder / FOLDER).mkdir(),
        (folder / FOLDER / "notes.txt").write_text("mine"),
    ),
    "a file of the same name": lambda folder: (folder / FOLDER).write_text("mine"),
    "a folder named like the file": lambda folder: file_of(folder).mkdir(parents=True),
    "another database": lambda folder: write_database(file_of(folder)),
    "the store's own folder": lambda folder: (folder / FILE).write_text("the store"),
}


@pytest.mark.parametrize("make", NO_CACHES.values(), ids=NO_CACHES)
def test_a_folder_that_is_no_cache_is_not_cleared(tmp_path, make):
    make(tmp_path)
    before = names(tmp_path)
    with pytest.raises(ParameterError, match=r"is no cache.*nothing was removed") as caught:
        clear_cache(tmp_path)
    assert repr(str(tmp_path)) in str(caught.value)
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE files (mine TEXT)", "PRAGMA user_version = 7", "CREATE VIEW mine AS SELECT 1"],
)
def test_another_programs_database_is_left_alone(tmp_path, pictures, expected, statement):
    write_database(file_of(tmp_path))
    change(tmp_path, "INSERT INTO files VALUES ('mine')")
    if statement.startswith("PRAGMA"):
        change(tmp_path, statement)
    before = file_of(tmp_path).read_bytes()
    with told() as found:
        assert torch.equal(run(tmp_path, pictures[0]), expected)
    assert "the database of another program, and stays as is" in only(found)
    assert file_of(tmp_path).read_bytes() == before


def test_a_database_in_use_is_not_taken_for_a_store(tmp_path, monkeypatch):
    monkeypatch.setattr(connection_module, "_WAIT", 0.05)
    write_database(file_of(tmp_path))
    with closing(sqlite3.connect(file_of(tmp_path), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OSError, match="locked"):
            clear_cache(tmp_path)
    assert file_of(tmp_path).exists()


def test_a_store_of_an_earlier_version_is_a_store(warm, pictures, computed):
    change(warm, "PRAGMA application_id = 0")  # as versions before this number left it
    computed.clear()
    with told() as found:
        run(warm, pictures[0])
    assert not found
    assert computed == []
    clear_cache(warm)
    assert names(warm) == []


@pytest.mark.parametrize("kind", ["missing", "empty", "begun"])
def test_clearing_nothing_is_no_error(tmp_path, kind):
    folder = tmp_path / "cache"
    if kind != "missing":
        folder.mkdir()
    if kind == "begun":
        (folder / FOLDER).mkdir()  # by a process that was killed at once
    clear_cache(folder)
    assert names(tmp_path) == ([] if kind == "missing" else ["cache"])


def test_two_may_clear_at_once(warm, monkeypatch):
    original = Path.glob

    def glob(self, pattern):
        found = list(original(self, pattern))
        if found and Path.glob is glob:
            monkeypatch.setattr(Path, "glob", original)
            clear_cache(warm)  # another process is faster
        return iter(found)

    monkeypatch.setattr(Path, "glob", glob)
    clear_cache(warm)
    assert Path.glob is original
    assert names(warm) == []


def test_clearing_a_store_that_vanishes_meanwhile_is_no_error(warm, monkeypatch):
    original = folder_module.os.scandir

    def scandir(path):
        found = list(original(path))
        monkeypatch.setattr(os, "scandir", original)
        shutil.rmtree(warm / FOLDER)  # another process is faster
        return found

    monkeypatch.setattr(os, "scandir", scandir)
    clear_cache(warm)
    assert os.scandir is original
    assert names(warm) == []


# Names of folders.


@pytest.mark.parametrize("name", ["", "a\0b"])
@pytest.mark.parametrize("use", [Cache, cache_info, clear_cache])
def test_an_invalid_folder_name_is_an_error(tmp_path, monkeypatch, use, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match="cache must name a folder, or be None") as caught:
        use(name)
    assert repr(name) in str(caught.value)
    assert names(tmp_path) == []


def test_an_estimator_raises_it_before_it_reads_pictures():
    with pytest.raises(ParameterError, match="cache must name a folder"):
        PretrainedFeatureExtractor(weights=None, cache="").fit(["missing.png"])


def test_a_missing_home_folder_is_an_error():
    with pytest.raises(ParameterError, match="no such home folder"):
        cache_info("~nobody-of-this-name/cache")


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path, pictures, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    run("~/cache", pictures[0])
    assert os.listdir(tmp_path) == ["home"]
    info = cache_info("~/cache")
    assert (info.folder, info.rows) == (str(tmp_path / "home" / "cache"), 24)
    clear_cache("~/cache")
    assert names(tmp_path) == ["home", "home/cache"]


@pytest.mark.parametrize("linked", [".", FOLDER])
def test_links_to_folders_work(tmp_path, pictures, expected, computed, linked):
    # Both the folder itself and the store's own may be on another disk.
    real, folder = tmp_path / "real", tmp_path / "cache"
    real.mkdir()
    if linked == ".":
        folder.symlink_to(real)
    else:
        folder.mkdir()
        (folder / FOLDER).symlink_to(real)
    with told() as found:
        run(folder, pictures[0])
        computed.clear()
        assert torch.equal(run(folder, pictures[0]), expected)
        assert cache_info(folder).rows == 24
    assert not found
    assert computed == []
    clear_cache(folder)
    assert names(real) == []
    file = file_of(folder)
    run(folder, pictures[0])
    file.write_bytes(NO_DATABASE)
    with told() as found:
        assert torch.equal(run(folder, pictures[0]), expected)
    assert "is replaced by a new one" in only(found)
    assert cache_info(folder).rows == 24
    assert [path.name for path in real.rglob("*.sqlite")] == [FILE]


def test_a_removed_working_folder_only_costs_time(tmp_path, pictures, expected, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with told() as found:
        assert torch.equal(run("cache", pictures[0]), expected)
    only(found)


# Files that other users could have written.

needs_owners = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owners here")


def given_away(path, monkeypatch):
    """Let a path belong to another user."""
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)


@needs_owners
@pytest.mark.parametrize("place", [".", FOLDER, f"{FOLDER}/{FILE}"])
def test_files_of_other_users_are_not_used(warm, pictures, expected, computed, monkeypatch, place):
    before = names(warm)
    given_away(warm / place, monkeypatch)
    computed.clear()
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
    words = only(found)
    assert "belongs to user" in words
    assert "SKTRANSFER_SHARED_CACHE=1" in words
    assert sum(computed) == 24
    assert names(warm) == before


@needs_owners
@pytest.mark.parametrize(
    ("place", "mode"),
    [
        (".", 0o777),
        (".", 0o703),
        (FOLDER, 0o770),
        (FOLDER, 0o702),
        (FOLDER, 0o1777),
        (f"{FOLDER}/{FILE}", 0o660),
        (f"{FOLDER}/{FILE}", 0o602),
    ],
)
def test_files_that_others_may_write_are_not_used(warm, pictures, expected, computed, place, mode):
    (warm / place).chmod(mode)
    computed.clear()
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
    words = only(found)
    assert f"others may write to {warm / place} (mode {mode:04o})" in words
    assert f"chmod go-w '{warm / place}'" in words
    assert sum(computed) == 24
    (warm / place).chmod(mode & ~0o022)  # as the message says
    computed.clear()
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
    assert not found
    assert computed == []


@needs_owners
@pytest.mark.parametrize("mode", [0o755, 0o775, 0o1777])  # the last is that of /tmp
def test_folders_with_the_usual_permissions_are_used(tmp_path, pictures, expected, mode):
    tmp_path.chmod(mode)
    with told() as found:
        assert torch.equal(run(tmp_path, pictures[0]), expected)
    assert not found
    assert cache_info(tmp_path).rows == 24


@needs_owners
def test_a_journal_that_was_planted_is_not_used(warm, pictures, expected):
    journal = warm / FOLDER / f"{FILE}-journal"
    journal.write_bytes(b"what to write back into the database")
    journal.chmod(0o666)
    with told() as found:
        assert torch.equal(run(warm, pictures[0]), expected)
    assert f"others may write to {journal}" in only(found)


@needs_owners
def test_a_folder_may_be_shared_on_purpose(tmp_path, pictures, expected, computed, monkeypatch):
    monkeypatch.setenv("SKTRANSFER_SHARED_CACHE", "1")
    tmp_path.chmod(0o770)
    with told() as found:
        run(tmp_path, pictures[0])
        given_away(tmp_path, monkeypatch)
        given_away(tmp_path / FOLDER, monkeypatch)
        computed.clear()
        assert torch.equal(run(tmp_path, pictures[0]), expected)
    assert not found
    assert computed == []
    assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o770
    assert file_of(tmp_path).stat().st_mode & 0o777 == 0o660


@needs_owners
def test_a_shared_store_has_the_permissions_of_its_folder(tmp_path, pictures):
    run(tmp_path, pictures[0])
    assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700
    assert file_of(tmp_path).stat().st_mode & 0o777 == 0o600


# Converted networks.


def test_a_network_larger_than_a_value_may_be_is_stored(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "_PART", 4_000)
    with told() as found, Cache(tmp_path) as cache:
        cache._store._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 5_000)
        for size in (0, 1, 3_999, 4_000, 4_001, 24_000, 25_000):
            model = np.random.default_rng(size).bytes(size)
            cache.put_model(b"key", model)
            assert cache.get_model(b"key") == model
            assert cache.is_open
        cache.write(b"space", {b"picture": np.ones(3)})
    assert not found
    with Cache(tmp_path) as cache:
        assert cache.get_model(b"key") == model
        assert cache.read(b"space", [b"picture"])[b"picture"].tolist() == [1, 1, 1]


def test_a_network_that_lacks_a_part_is_converted_again(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "_PART", 4_000)
    with Cache(tmp_path) as cache:
        cache.put_model(b"key", bytes(9_000))
    for number in (4, 3, 2, 1):  # the fourth names the parts
        change(tmp_path, "DELETE FROM contents WHERE id = ?", number)
        with Cache(tmp_path) as cache:
            assert cache.get_model(b"key") is None
    with Cache(tmp_path) as cache:
        cache.put_model(b"key", bytes(9_000))
        assert cache.get_model(b"key") == bytes(9_000)


def test_parts_of_two_conversions_are_not_put_together(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "_PART", 4_000)
    one, two = bytes([1]) * 9_000, bytes([2]) * 9_000
    with Store(tmp_path, 10**9) as ours, Store(tmp_path, 10**9) as theirs:
        models.put_model(ours, b"key", one)
        original = Store.write

        def write(self, space, rows):
            original(self, space, rows)
            monkeypatch.setattr(Store, "write", original)
            models.put_model(theirs, b"key", two)  # another process, at the same time

        monkeypatch.setattr(Store, "write", write)
        models.put_model(ours, b"key", one)
        assert models.get_model(ours, b"key") == one


def test_a_network_as_large_as_the_cache_evicts_no_activations(tmp_path, monkeypatch):
    monkeypatch.setenv("SKTRANSFER_CACHE_SIZE", "2MB")
    with told() as found, Cache(tmp_path) as cache:
        cache.write(b"space", {b"picture": np.ones(3)})
        cache.put_model(b"key", bytes(1_500_000))
        assert cache.get_model(b"key") is None
        assert cache.read(b"space", [b"picture"])[b"picture"].tolist() == [1, 1, 1]
    assert not found


def test_a_store_that_cant_be_cleared_is_an_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="Not a directory"):
        clear_cache(tmp_path / "file")


def test_an_invalid_limit_is_an_error_before_anything_is_opened(tmp_path, monkeypatch):
    monkeypatch.setenv("SKTRANSFER_CACHE_SIZE", "lots")
    with pytest.raises(ValueError, match="lots"), Cache(tmp_path / "cache"):
        pass
    assert not (tmp_path / "cache").exists()
